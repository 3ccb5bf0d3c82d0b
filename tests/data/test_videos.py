"""Videos: from files, folders of frames and arrays to windows of frames of the requested size and rate."""

import csv
import struct
import zipfile
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.data.recordings import damage_packet
from withhold import data
from withhold.data import media
from withhold.data.kind import Unreadable
from withhold.data.videos import Videos, decode, each_frame, middle
from withhold.errors import UsageError, WithholdError

STEP = 8  # grey levels between two frames, which no codec blurs


def levels(found):
    """Frames [t, h, w, c] of one colour each -> the number of the frame that each shows."""
    return np.rint(found.mean((1, 2, 3)) / STEP - 2).astype(int).tolist()


def flat(count, size, colour):
    """Flat frames, each `STEP` lighter than the one before; in colour their right half is red."""
    for number in range(count):
        pixels = np.full((*size, 3), (number % 20 + 2) * STEP, dtype=np.uint8)
        if colour:
            pixels[:, size[1] // 2 :] = (200, 30, 30)
        yield pixels


def write(
    path, count=12, rate=24, size=(48, 64), colour=False, *, frames=None, times=None, ratio=1, codec="libx264",
    form="yuv420p", group=4, **options,
):  # fmt: skip
    """A video of `frames`, or flat ones, shown at `times` in 1 / rate seconds; its pixels are `ratio` times wider."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *size, form
        stream.codec_context.gop_size = group
        stream.codec_context.sample_aspect_ratio = ratio
        file.start_encoding()
        for number, pixels in enumerate(frames or flat(count, size, colour)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            if times:
                frame.pts, frame.time_base = times[number], 1 / Fraction(rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def picture(path, level, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), level, dtype=np.uint8)).save(path)


@pytest.mark.parametrize("rate", [8, 12, 24, Fraction(30000, 1001)])
@pytest.mark.parametrize("fps", [6.0, 8.0, 24.0])
def test_a_frame_is_the_one_that_is_shown_at_its_time(tmp_path, rate, fps):
    found = decode(str(write(tmp_path / "a.mp4", 12, rate)), 32, 1, fps)
    seconds = 12 / float(rate)
    times = [k / fps for k in range(1000) if k / fps < seconds - 1e-6]
    assert levels(found) == [int(time * float(rate) + 1e-6) for time in times]


def test_a_frame_has_its_centre_square_at_the_wanted_size(tmp_path):
    found = decode(str(write(tmp_path / "a.mp4", 2, 24, size=(48, 96), colour=True)), 24, 3, 24.0)
    assert found.shape == (2, 24, 24, 3)
    assert found[0, :, :10].std((0, 1)).max() < 3
    assert np.abs(found[0, :, 14:].astype(int) - (200, 30, 30)).max() < 12, "the right half is red"
    assert decode(str(tmp_path / "a.mp4"), 24, 1, 24.0).shape == (2, 24, 24, 1)


TURNS = {
    "upright": ((1, 0, 0, 1), lambda p: p),
    "quarter": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "half": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "three quarters": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "transposed otherwise": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
}
"""The matrix (a, b, c, d), by which (x, y) is shown at (a x + c y, b x + d y), and what it does."""


@pytest.mark.parametrize("turn", TURNS)
def test_a_video_is_turned_and_mirrored_as_its_file_says(tmp_path, turn):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32], pixels[24:, :32], pixels[:24, 32:] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    path = write(tmp_path / "a.mp4", frames=[pixels] * 2)
    content = path.read_bytes()
    place = content.index(b"tkhd") + 4 + 40  # behind version, times, track, duration, layer, group, volume
    (a, b, c, d), turned = TURNS[turn]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:place] + matrix + content[place + 36 :])
    for found, true in (
        (decode(str(path), 48, 3, 24.0)[0], turned(pixels[:, 8:56])),
        (next(each_frame(str(path))), turned(pixels)),
        (middle(str(path)), turned(pixels)),
    ):
        assert found.shape == true.shape
        assert np.abs(found.astype(int) - true).mean() < 8


@pytest.mark.parametrize(("ratio", "shown"), [(Fraction(2), (48, 128)), (Fraction(1, 2), (48, 32)), (1, (48, 64))])
def test_pixels_that_are_not_square_are_stretched(tmp_path, ratio, shown):
    path = write(tmp_path / "a.mp4", 2, colour=True, ratio=ratio)  # the right half is red
    assert next(each_frame(str(path))).shape == middle(str(path)).shape == (*shown, 3)
    assert Videos().measure(str(path)).size == min(shown)
    found = decode(str(path), 32, 3, 24.0)[0]
    assert np.abs(found[:, 18:].astype(int) - (200, 30, 30)).max() < 15
    assert np.ptp(found[:, :14].astype(int), axis=2).max() < 15


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_clock_that_leaps_goes_on_at_the_rate_of_the_frames(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", 16, 8, times=[*range(8), *range(8 + 20 * 3600 * 8, 16 + 20 * 3600 * 8)])
    assert levels(decode(str(path), 32, 1, 8.0)) == list(range(16))
    paused = write(tmp_path / f"b.{ending}", 4, 8, times=[0, 1, 2, 2 + 8 * 5])  # which a player would wait for
    assert levels(decode(str(paused), 32, 1, 8.0)) == [0, 1, *[2] * 40, 3]


def test_two_files_in_one_are_seen_one_after_the_other(tmp_path):
    path = write(tmp_path / "a.ts", 8, 8)
    path.write_bytes(path.read_bytes() * 2)
    assert levels(decode(str(path), 32, 1, 8.0)) == [*range(8), *range(8)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_a_damaged_packet_costs_a_few_frames(tmp_path, ending, caplog):
    path = damage_packet(write(tmp_path / f"a.{ending}", 40, 24), 17)
    found = levels(decode(str(path), 32, 1, 24.0))
    assert 36 <= len(found) <= 40
    assert found[:12] == list(range(12))
    assert found[-8:] == list(range(12, 20))
    assert "packets cannot be decoded" in caplog.text


def test_one_video_takes_no_more_than_is_said(tmp_path, monkeypatch):
    path = str(write(tmp_path / "a.mp4", 12, 24))
    monkeypatch.setattr(media, "MOST_BYTES", 12 * 32 * 32)
    assert len(decode(path, 32, 1, 24.0)) == 12
    with pytest.raises(Unreadable, match="more than 2 GB when decoded; split it into parts"):
        decode(path, 32, 3, 24.0)
    monkeypatch.setattr(media, "MOST_PIXELS", 40 * 40)
    with pytest.raises(Unreadable, match="too many pixels"):
        middle(path)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "flv", "ts", "mpg"])
@pytest.mark.parametrize("group", [12, 100])
def test_the_frame_at_a_time_is_found_in_every_format(tmp_path, ending, group):
    """Some formats cannot be searched exactly."""
    codec = "mpeg2video" if ending == "mpg" else "libx264"
    path = write(tmp_path / f"a.{ending}", 50, 25, frames=flat(18, (48, 64), False), codec=codec, group=group)
    for number in (0, 5, 9, 13, 17):
        found = middle(str(path), number / 25 + 0.01)
        assert abs(levels(np.asarray(found)[None])[0] - number) <= 1


@pytest.mark.parametrize("name", ["a.gif", "a.flv", "a.3gp", "a.ts", "a.ogv", "a.wmv"])
def test_other_files_that_hold_videos(tmp_path, name):
    codec = {"a.gif": "gif", "a.ogv": "libtheora", "a.wmv": "wmv2"}.get(name, "libx264")
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg cannot write {codec}")
    write(tmp_path / name, 8, 8, codec=codec, form="rgb8" if codec == "gif" else "yuv420p")
    found = data.load(tmp_path, "video", size=32, fps=8.0)
    assert found.names == [name]
    assert len(found.whole(0)) == 8


def test_the_data_decide_size_and_colour(tmp_path):
    for name in "ab":
        write(tmp_path / "grey" / f"{name}.mp4")
        write(tmp_path / "colour" / f"{name}.mp4", size=(70, 90), colour=True)
    assert data.load(tmp_path / "grey", "video", frames=4).shape == (4, 48, 48, 1)
    assert data.load(tmp_path / "colour", "video", frames=4).shape == (4, 72, 72, 3)
    assert data.measure(tmp_path / "colour", "video").size == 70


def test_a_video_that_begins_in_black_is_in_colour(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    write(tmp_path / "a.mp4", frames=[red * 0] * 6 + [red] * 12)
    assert data.measure(tmp_path, "video").channels == 3


def test_bad_files_are_skipped_with_their_reasons(tmp_path):
    whole = write(tmp_path / "good.mp4")
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all, " * 100)
    content = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])  # whose index stood at the end
    write(tmp_path / "none.mkv", count=0)
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    found = data.load(tmp_path, "video", size=32)
    assert found.names == ["good.mp4"]
    reasons = dict(found.skipped)
    assert reasons["zero.mp4"] == "empty file"
    assert reasons["text.mp4"] == "unknown format"
    assert reasons["none.mkv"] == "it ends before its first frame"
    assert reasons["sound.mp4"] == "it has no picture"
    assert set(reasons) == {"zero.mp4", "text.mp4", "cut.mp4", "none.mkv", "sound.mp4"}
    with pytest.raises(WithholdError, match=r"cut\.mp4 in .* cannot be read"):
        data.load(tmp_path, "video", size=32, strict=True)
    with pytest.raises(Unreadable, match="missing file"):
        decode(str(tmp_path / "absent.mp4"), 32, 1, 8.0)


def test_what_comes_before_a_broken_end_is_kept(tmp_path, caplog):
    whole = write(tmp_path / "a.mp4", 40, 24, (96, 128), colour=True, movflags="faststart")
    content = whole.read_bytes()
    whole.write_bytes(content[: content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2])
    found = decode(str(whole), 32, 1, 24.0)
    assert 4 <= len(found) < 40


def test_folders_of_frames_are_videos_of_24_frames_a_second(tmp_path, caplog):
    caplog.set_level("INFO", "withhold")
    for video, count in (("run/a", 12), ("walk/b", 6)):
        for frame in range(count):
            picture(tmp_path / video / f"{frame}.png", (frame + 2) * STEP)  # 10.png comes after 2.png
    found = data.load(tmp_path, "video", size=32, fps=12.0, frames=2)
    assert found.names == ["run/a", "walk/b"]
    assert found.classes == ("run", "walk")
    assert levels(found.whole(0)) == [0, 2, 4, 6, 8, 10]
    assert levels(found.whole(1)) == [0, 2, 4]
    assert f"{tmp_path}: each folder of images is read as one video; videos: 2" in caplog.messages


def test_in_place_of_a_damaged_frame_in_a_folder_the_one_before_is_shown(tmp_path):
    for frame in range(4):
        picture(tmp_path / "a" / f"{frame}.png", (frame + 2) * STEP)
    (tmp_path / "a" / "2.png").write_text("no")
    assert levels(data.load(tmp_path, "video", size=32, fps=24.0).whole(0)) == [0, 1, 1, 3]
    (tmp_path / "a" / "0.png").write_text("no")
    with pytest.raises(WithholdError, match=r"None of the 1 videos .* \(a: not an image\)"):
        data.load(tmp_path, "video", size=32, fps=24.0)


def test_archives_lists_and_classes(tmp_path):
    for name in ("yes/a", "yes/b", "no/c"):
        write(tmp_path / "clips" / f"{name}.mp4")
    folder = data.load(tmp_path / "clips", "video", size=32)
    assert (folder.names, folder.classes) == (["no/c.mp4", "yes/a.mp4", "yes/b.mp4"], ("no", "yes"))
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for name in folder.names:
            archive.write(tmp_path / "clips" / name, f"clips/{name}")
    packed = data.load(tmp_path / "clips.zip", "video", size=32)
    assert (packed.names, packed.classes) == (folder.names, folder.classes)
    assert all(np.array_equal(packed.whole(i), folder.whole(i)) for i in range(3))
    with open(tmp_path / "some.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("video", "label"), ("clips/no/c.mp4", "x"), ("clips/yes/a.mp4", "y"), ("none", "")]
        )
    listed = data.load(tmp_path / "some.csv", "video", size=32)
    assert (listed.names, listed.classes) == (["clips/no/c.mp4", "clips/yes/a.mp4"], ("x", "y"))
    assert listed.skipped == [("none", "missing file")]
    single = data.load(tmp_path / "clips" / "no" / "c.mp4", "video", size=32)
    assert single.names == ["c.mp4"]


def test_arrays_are_videos_as_they_are(tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8)
    found = data.load((clips, ["x", "y", "x"]), "video", frames=4, fps=2.0)
    assert found.shape == (4, 32, 32, 3)
    assert all(np.array_equal(found.whole(i), clips[i]) for i in range(3))
    assert found.classes == ("x", "y")
    grey = data.load(clips[..., 0], "video", frames=4)
    assert np.array_equal(grey.whole(2)[..., 0], clips[2, ..., 0])
    import torch

    first = data.load(torch.from_numpy(clips).permute(0, 1, 4, 2, 3), "video", frames=4)
    assert np.array_equal(first.whole(1), clips[1])
    np.savez(tmp_path / "clips.npz", videos=clips, labels=np.array([1, 0, 1]))
    loaded = data.load(tmp_path / "clips.npz", "video", frames=4)
    assert np.array_equal(loaded.whole(1), clips[1])
    assert loaded.labels.tolist() == [1, 0, 1]
    assert data.load(clips, "video", size=16, frames=4).shape == (4, 16, 16, 3), "another size where one is asked for"


def test_arrays_of_another_shape_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"have the shape \[5, 32, 32\]\. Give \[n, t, h, w\]"):
        data.load(np.zeros((5, 32, 32), np.uint8), "video")
    with pytest.raises(UsageError, match=r"float32\. Give uint8"):
        data.load(np.zeros((2, 5, 32, 32), np.float32), "video")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(UsageError, match=r"no array of videos \(it has weights\)\. Name one videos, x or data"):
        data.load(tmp_path / "other.npz", "video")


def test_a_source_without_videos_says_what_would_be_one(tmp_path):
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(UsageError, match=r"has no videos\. Give a folder with .mp4, .avi"):
        data.load(tmp_path, "video")
    with pytest.raises(UsageError, match="Give more than 0 for both"):
        Videos(frames=0)


def series(lengths, window, labels=None):
    """Videos whose frames hold their place among all rows."""
    clips = [np.full((n, 1, 1, 1), 0, np.uint8) for n in lengths]
    values = np.arange(sum(lengths), dtype=np.uint8).reshape(-1, 1, 1, 1)
    ends = np.cumsum([len(clip) for clip in clips])
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    rows = np.arange(len(lengths))
    about = {"names": np.array([f"v{i}" for i in rows]), "labels": labels, "classes": ("a", "b"), "source": "made"}
    return data.Series(values, spans, window, "video", 8.0, rows, **about)


def rows(samples, index):
    return samples.batch([index])[0].flatten().tolist()


def test_a_batch_holds_the_windows_in_the_middle():
    samples = series([4, 9, 2], 4)
    assert rows(samples, 0) == [0, 1, 2, 3]
    assert rows(samples, 1) == [6, 7, 8, 9]
    assert rows(samples, 2) == [13, 14, 14, 14], "a short video stays at its last frame"
    assert samples.batch([0, 2]).shape == (2, 4, 1, 1, 1)


def test_windows_cover_every_frame_and_know_their_item():
    samples = series([4, 9, 2], 4)
    cut = samples.windows()
    assert cut.owners.tolist() == [0, 1, 1, 1, 2]
    assert [rows(cut, i) for i in range(5)] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [9, 10, 11, 12], [13, 14, 14, 14],
    ]  # fmt: skip
    assert cut.names == ["v0", "v1", "v1", "v1", "v2"]


def test_a_cut_stays_inside_its_item():
    cut = series([4, 9, 2], 4).cut(np.array([1, 2, 1]), np.array([2, 5, 8]))
    assert [rows(cut, i) for i in range(3)] == [[6, 7, 8, 9], [14] * 4, [12] * 4]


def test_selections_and_splits_are_of_items():
    samples = series([3] * 20, 2, np.arange(20) % 2)
    some = samples.select([5, 3])
    assert (some.names, some.labels.tolist()) == (["v5", "v3"], [1, 1])
    assert some.whole(0).flatten().tolist() == [15, 16, 17]
    assert some.windows().owners.tolist() == [0, 0, 1, 1]
    first, second = samples.split(0.3, 0)
    assert (len(first), len(second)) == (14, 6)
    held = [
        {int(row) for i in range(len(part.windows())) for row in rows(part.windows(), i)} for part in (first, second)
    ]
    assert not held[0] & held[1], "no frame of a video is on both sides"
    assert np.bincount(second.labels).tolist() == [3, 3]
