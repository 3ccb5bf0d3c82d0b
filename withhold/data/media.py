"""What opens a media file: an image with Pillow, a video or a sound with FFmpeg. It opens that file and no other.

A damaged file is `Unreadable`, and the item is skipped. What may pass, such as a lack of permission or memory, is a
`WithholdError` and ends the job: the cache must not remember an item as skipped that can be read tomorrow.
"""

import contextlib
import errno
import functools
import importlib.util
import io
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from withhold.data.kind import Item, Unreadable
from withhold.errors import WithholdError

MOST_BYTES = 2**31
"""Of one decoded item, whatever its header declares, since several are in memory at once: nearly 3 hours of video at 96
pixels and 8 frames a second, 18 hours of sound at 16,000 samples a second. It is the limit of an image's file, too."""
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**26)
"""Of one image or frame: Pillow's own limit."""
TOO_LARGE = f"more than {MOST_BYTES >> 30} GB when decoded; cut it into parts"
IMAGES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
"""Formats of images, by Pillow's names. Some others would start a program, as EPS does."""
STREAMS = "aac,aiff,amr,asf,avi,caf,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,mpegvideo,ogg,w64,wav"
"""Formats of videos and sounds, by FFmpeg's names. Some others are lists of files to be opened."""
MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
UNDECODED = "it cannot be decoded"
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim", b"ftyphevc")

log = logging.getLogger("withhold")


@contextlib.contextmanager
def image(item: Item) -> Iterator[Image.Image]:
    """The opened image. Raises: Unreadable, whatever goes wrong inside; WithholdError."""
    content = b""
    try:
        if isinstance(item, np.ndarray):
            yield from_pixels(item)
            return
        content = _content(item)
        with Image.open(io.BytesIO(content), formats=_formats()) as opened:
            yield opened
    except (Unreadable, WithholdError):
        raise
    except MemoryError as error:
        raise _failed(item, error) from error
    except UnidentifiedImageError as error:
        needs = "HEIC needs pillow-heif: pip install 'withhold[heic]'"
        raise Unreadable(needs if content[4:12] in HEIC and not has_heif() else "not an image") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(f"too many pixels: {str(error).split(',')[0]}") from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise Unreadable(_text(error)) from error


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """Pixels uint8 [h, w] or [h, w, 1 or 3] as an image."""
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def has_heif() -> bool:
    """Whether HEIC images can be read here."""
    return importlib.util.find_spec("pillow_heif") is not None


@functools.cache
def _formats() -> list[str]:
    if has_heif():
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in IMAGES if name in Image.OPEN]


@contextlib.contextmanager
def stream(item: Item, kind: str) -> Iterator[Any]:
    """The stream that a player plays, of `kind` "video" or "audio".

    Raises:
        Unreadable: whatever goes wrong inside.
        WithholdError: the file cannot be read now.
    """
    import av
    from av.container.core import Flags

    options = {"format_whitelist": STREAMS, "protocol_whitelist": "none"}
    wrong = "no known format"
    with _file(item) as file:
        try:
            with av.open(file, options=options, metadata_errors="replace") as opened:
                container: Any = opened
                wrong = UNDECODED
                found = container.streams.best(kind)
                if found is None or is_cover(found):
                    raise Unreadable("it has no picture" if kind == "video" else "it has no sound track")
                if found.codec_context is None:
                    raise Unreadable("FFmpeg has no decoder for it")
                found.codec_context.thread_count = 1  # the files are decoded side by side
                if kind == "video":  # in the time stamps that PyAV asks FFmpeg to make up, AVI files are out of order
                    container.flags &= ~Flags.gen_pts.value
                yield found
        except (Unreadable, WithholdError):
            raise
        except av.FFmpegError as error:  # which says "permission denied" or "out of memory" of damaged files
            raise Unreadable(_reason(error, wrong)) from error
        except (OSError, MemoryError) as error:  # of the file itself
            raise _failed(item, error) from error
        except Exception as error:
            raise Unreadable(_text(error)) from error


def is_cover(stream: Any) -> bool:
    """Whether a stream is the picture on the cover of a sound."""
    from av.stream import Disposition

    return Disposition.attached_pic in stream.disposition


def decoded(stream: Any) -> Iterator[Any]:
    """The frames of a stream. A packet that cannot be read costs that packet. Raises: Unreadable, if all cannot."""
    import av

    lost, found, reason = 0, 0, ""
    packets = stream.container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            break
        except av.FFmpegError as error:
            lost, reason = lost + 1, reason or _reason(error, UNDECODED)
            continue
        found += len(frames)
        yield from frames
    if lost and not found:
        raise Unreadable(reason)
    if lost:
        name = stream.container.name.replace("<none>", "A file")
        log.warning("%s: %d of its packets cannot be read (%s); the rest is kept", name, lost, reason)


def time_of(frame: Any) -> float | None:
    """When a frame of a video is shown, in seconds by the clock of its file, if that says."""
    ticks = frame.dts if frame.pts is None else frame.pts
    return None if ticks is None else float(ticks * frame.time_base)


def bounded(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same arrays. Raises: Unreadable, if they are more than one item may take."""
    total = 0
    for part in rows:
        total += part.nbytes
        if total > MOST_BYTES:
            raise Unreadable(TOO_LARGE)
        yield part


def _file(item: Item) -> IO[bytes]:
    """An item as a file. Raises: Unreadable, it is none; WithholdError, it cannot be read now."""
    item = item() if callable(item) else item
    if isinstance(item, bytes):
        if not item:
            raise Unreadable("empty file")
        return io.BytesIO(item)
    path = str(item)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("no file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if not status.st_size:
            raise Unreadable("empty file")
        return open(path, "rb", buffering=0)
    except ValueError as error:  # a name that no file can have
        raise Unreadable("missing file") from error
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno in MISSING:
            raise Unreadable("missing file") from error
        raise _failed(path, error) from error


def _content(item: Item) -> bytes:
    """What an image's file holds. Raises: Unreadable, WithholdError."""
    with _file(item) as file:
        if file.seek(0, os.SEEK_END) > MOST_BYTES:
            raise Unreadable("too large a file for an image")
        try:
            file.seek(0)
            return file.read()
        except (OSError, MemoryError) as error:
            raise _failed(item, error) from error


def _failed(item: Item, error: Exception) -> WithholdError:
    name = item if isinstance(item, str) else "A file"
    reason = getattr(error, "strerror", None) or "out of memory"
    return WithholdError(f"{name} could not be read ({reason}). The file may be fine: solve this, and run again.")


def _reason(error: Exception, otherwise: str) -> str:
    return "it ends before its first frame" if isinstance(error, EOFError) else otherwise


def _text(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).strip().rstrip(".") or type(error).__name__
