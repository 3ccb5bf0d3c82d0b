"""Malformed media files are read or reported as unreadable; no other file is opened, and nothing hangs."""

import errno
import io
import os
import socket
import struct
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from tests.data.recordings import tone, write_sound, write_video
from withhold import data
from withhold.data import media
from withhold.data.images import Images
from withhold.data.kind import Unreadable
from withhold.data.sounds import Sounds, encode
from withhold.data.videos import Videos
from withhold.errors import WithholdError

KINDS = {"image": Images(32, 3), "video": Videos(32, 3), "audio": Sounds(8000)}
FRAMES = np.random.default_rng(0).integers(0, 256, (8, 16, 24, 3), np.uint8)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, *chunks):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


PHOTO = Image.fromarray(FRAMES[0])
BOMB = zlib.compress(bytes(200 << 20), 9)  # 200 MB of text
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 9 9 rectfill\nshowpage\n%%EOF\n"
PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
MPD = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>\n'
IMAGES = {
    "nothing": (b"", "empty file"),
    "text": (b"just some text", "not an image"),
    "truncated": (saved(PHOTO, "PNG")[:500], "truncated"),
    "postscript": (EPS, "not an image"),
    "vector graphics": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>", "not an image"),
    "many pixels": (png(50_000, 50_000), "exceeds limit"),
    "no pixels": (png(9, 9), "cannot load"),
    "a bomb of text": (png(9, 9, chunk(b"zTXt", b"a\0\0" + BOMB)), "too large"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "." if media.has_heif() else r"pip install 'withhold\[heic\]'"),
    "a damaged tiff": (b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 300, "."),
    "a header of webp": (saved(PHOTO, "WEBP")[:16], "."),
}


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_no_image_is_said(tmp_path, name):
    content, reason = IMAGES[name]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for item in (content, str(path), lambda: content):
        with pytest.raises(Unreadable, match=reason):
            KINDS["image"].decode(item)


def streams(tmp_path):
    """Contents of files that are called a video or a sound, and why they are none."""
    film = write_video(tmp_path / "film.mp4", FRAMES, 8).read_bytes()
    x264 = tmp_path / "x264.mp4"
    with av.open(str(x264), "w") as file:
        stream = file.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(FRAMES[0], "rgb24")))
        file.mux(stream.encode())
    coded = x264.read_bytes()
    thin = write_video(tmp_path / "thin.mkv", np.zeros((2, 1, 4096, 3), np.uint8), 8).read_bytes()
    return {
        "nothing": (b"", "empty file"),
        "text": (b"no video at all, " * 100, "unknown format"),
        "noise": (FRAMES.tobytes(), "unknown format"),
        "zeros": (bytes(10_000), "unknown format"),
        "a playlist": (PLAYLIST.format(x264).encode(), "unknown format"),
        "a list to join": (f"ffconcat version 1.0\nfile '{x264}'\n".encode(), "unknown format"),
        "a manifest of dash": (MPD.format(x264).encode(), "unknown format"),
        "a session": (
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
            "unknown",
        ),
        "half": (film[: len(film) // 2], "unknown format"),
        "no frames": (coded[: coded.index(b"mdat") + 4] + bytes(9) + coded[coded.index(b"moov") - 4 :], "."),
        "an unknown codec": (coded.replace(b"avc1", b"zzzz"), "no decoder|no sound track"),
        "damaged throughout": (coded[:48] + bytes(coded.index(b"moov") - 52) + coded[coded.index(b"moov") - 4 :], "."),
        "a thin frame": (thin, "too many pixels|no sound track"),
    }


def test_what_is_no_video_and_no_sound_is_said(tmp_path):
    for name, (content, reason) in streams(tmp_path).items():
        path = tmp_path / "a.mp4"
        path.write_bytes(content)
        for kind in (Videos(1024, 3), KINDS["audio"]):
            for item in (content, str(path)):
                with pytest.raises(Unreadable, match=reason):
                    pytest.fail(f"{name} is {kind.decode(item).shape}")


def paths(tmp_path):
    """Names of what is no file, and what is said of them."""
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "file").write_text("a")
    return {
        tmp_path / "fifo.png": "not a regular file",
        tmp_path / "folder.png": "not a file",
        tmp_path / "zero.png": "not a regular file",
        tmp_path / "loop.png": "missing file",
        tmp_path / "file" / "a.png": "missing file",
        tmp_path / "a\0b.png": "embedded null byte",
        tmp_path / ("a" * 300): "missing file",
        "pipe:0": "missing file",
        f"concat:{tmp_path}/file|{tmp_path}/file": "missing file",
        "a%03d.png": "missing file",
        "": "missing file",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    for path, reason in paths(tmp_path).items():
        with pytest.raises(Unreadable, match=reason):
            KINDS[kind].decode(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_is_no_file_and_nobody_is_asked(tmp_path, kind):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.png"
        (tmp_path / "list.csv").write_text(f"path\n{address}\n")
        with pytest.raises(Unreadable, match="missing file"):
            KINDS[kind].decode(address)
        with pytest.raises(WithholdError, match="missing file"):
            data.load(tmp_path / "list.csv", kind)
        with pytest.raises(TimeoutError):
            server.accept()


def test_what_a_header_declares_is_not_believed(tmp_path, monkeypatch):
    sound = bytearray(encode(np.arange(1, 4001, dtype=np.int16), 8000))
    sound[4:8] = sound[40:44] = struct.pack("<I", 2**32 - 1)  # 4 GB
    assert (KINDS["audio"].decode(bytes(sound)) == np.arange(1, 4001)).all()
    monkeypatch.setattr(media, "MOST_BYTES", 2**20)
    sound[24:28] = struct.pack("<I", 1)  # more than an hour, at one sample a second
    with pytest.raises(Unreadable, match="more than 2 GB when decoded"):
        KINDS["audio"].decode(bytes(sound))
    gif = saved(PHOTO.quantize(4), "GIF", save_all=True, append_images=[Image.new("P", (24, 16))], duration=[90, 90])
    begin, end = gif.index(b"\x21\xf9"), gif.rindex(b"\x3b")
    with pytest.raises(Unreadable, match="more than 2 GB when decoded"):  # it has 40,000 frames
        KINDS["video"].decode(gif[:begin] + gif[begin:end] * 20_000 + b"\x3b")
    monkeypatch.setattr(media, "MOST_BYTES", 2000)
    with pytest.raises(Unreadable, match="too large a file"):
        KINDS["image"].decode(saved(PHOTO, "BMP") + bytes(2000))


def test_titles_in_any_encoding_are_read_over(tmp_path):
    path = tmp_path / "a.flac"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "a title"
        stream = file.add_stream("flac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.full((1, 4096), 99, np.int16), "s16", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"a title", b"\xcd\xee\xe2\xe0\xff \xff"))
    assert len(KINDS["audio"].decode(str(path))) == 4096


class Failing(io.FileIO):
    """A file on a disk that fails."""

    def read(self, size=-1):
        raise OSError(errno.EIO, "Input/output error")


PASSING = {
    "Permission denied": PermissionError(errno.EACCES, "Permission denied"),
    "Too many open files": OSError(errno.EMFILE, "Too many open files"),
    "Cannot allocate memory": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "out of memory": MemoryError(),
    "Input/output error": None,
}


@pytest.mark.parametrize("reason", PASSING)
@pytest.mark.parametrize("kind", KINDS)
def test_what_may_pass_ends_the_job_and_skips_nothing(tmp_path, monkeypatch, kind, reason):
    folder = tmp_path / "items"
    folder.mkdir()
    PHOTO.save(folder / "a.png")
    write_video(folder / "a.mkv", FRAMES, 8, tone(440, 1, 8000))
    write_sound(folder / "b.wav", tone(440, 1, 8000), 8000)
    decoding = {"rate": 8000} if kind == "audio" else {"size": 32, "channels": 3}

    def fail(path, *args, **options):
        if PASSING[reason] is None:
            return Failing(path, "rb")
        raise PASSING[reason]

    with monkeypatch.context() as patch:
        patch.setattr(media, "open", fail, raising=False)
        with pytest.raises(WithholdError, match=rf"items/.* could not be read \({reason}\)\. The file may be fine"):
            data.load(folder, kind, **decoding)
    found = data.load(folder, kind, **decoding)
    unread = [reason for _, reason in found.skipped if "files are not" not in reason]
    assert (len(found), unread) == (2 if kind == "audio" else 1, [])
