"""Opening of media files: images with Pillow, videos and sounds with FFmpeg. No other files are opened.

A damaged file is `Unreadable`, and the item is skipped. A temporary problem, such as missing permission or memory, is a
`WithholdError` and ends the job: the cache must not record an item as skipped that can be read later.
"""

import contextlib
import errno
import functools
import importlib.util
import io
import logging
import math
import os
import stat
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from withhold.data.kind import Item, Unreadable
from withhold.errors import WithholdError

MOST_BYTES = 2**31
"""The most bytes of a decoded item, whatever its header declares, because several are in memory at once: nearly 3 hours
of video at 96 pixels and 8 frames a second, or 18 hours of sound at 16,000 samples a second. It also limits the size of
image files."""
TOO_LARGE = f"more than {MOST_BYTES >> 30} GB when decoded; split it into parts"
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**26)
"""The most pixels of an image or frame: Pillow's own limit."""
LOSSY = "saved as JPEG, which changes a mask's numbers; save it as PNG"
IMAGES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
"""Image formats by Pillow's names. Some others, such as EPS, would start a program."""
STREAMS = (
    "aac,aiff,amr,asf,avi,caf,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,mpegvideo,ogg,w64,wav,"
    "bmp_pipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"  # an image is a video of one frame
)
"""Video and sound formats by FFmpeg's names. Some others are lists of files that would be opened."""

log = logging.getLogger("withhold")


@contextlib.contextmanager
def image(item: Item) -> Iterator[Image.Image]:
    """Open an image. Raises: Unreadable, also for errors inside the context; WithholdError."""
    with _blamed(item):
        if isinstance(item, np.ndarray):
            yield from_pixels(item)
            return
        with _file(item) as file:
            if file.seek(0, os.SEEK_END) > MOST_BYTES:
                raise Unreadable("too large a file for an image")
            file.seek(0)
            content = file.read()
        if content[4:11] == b"ftyphei" and not has_heif():
            raise Unreadable("HEIC needs pillow-heif: pip install 'withhold[heic]'")
        with Image.open(io.BytesIO(content), formats=_formats()) as opened:
            yield opened


def document(item: Item) -> bytes:
    """Read all bytes of a text file. Raises: as `image` does."""
    with _blamed(item), _file(item, "empty document") as file:
        return file.read()


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """Convert pixels uint8 [h, w] or [h, w, 1 or 3] to an image."""
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def has_heif() -> bool:
    """Whether HEIC images can be read on this machine."""
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
    """Open the `best` stream of a file. Raises: as `image` does."""
    import av
    from av.container.core import Flags

    options = {"format_whitelist": STREAMS, "protocol_whitelist": "none"}
    container: Any
    with _blamed(item), _file(item) as file, av.open(file, options=options, metadata_errors="replace") as container:
        found = best(container, kind)
        if found is None:
            raise Unreadable("it has no picture" if kind == "video" else "it has no sound track")
        if found.codec_context is None:
            raise Unreadable("FFmpeg has no decoder for it")
        found.codec_context.thread_count = 1  # several files are decoded at once
        if kind == "video":  # generated time stamps, PyAV's default, are out of order in AVI files
            container.flags &= ~Flags.gen_pts.value
        yield found


def best(container: Any, kind: str) -> Any:
    """Return the stream of `kind` "video" or "audio" that a player plays; None if there is none, or only a cover."""
    from av.stream import Disposition

    found = container.streams.best(kind)
    return None if found is None or Disposition.attached_pic in found.disposition else found


def decoded(stream: Any, since: float = -math.inf) -> Iterator[Any]:
    """Yield the frames of a stream, without packets that cannot be decoded. Raises: Unreadable: there are no others.

    Args:
        since: start of decoding, in seconds by the clock of the file.
    """
    import av

    lost = found = 0
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets)
            if packet.pts is not None and packet.pts * packet.time_base < since:
                continue
            frames = packet.decode()
        except StopIteration:
            break
        except av.FFmpegError:
            lost += 1
            continue
        found += len(frames)
        yield from frames
    if not found:
        nothing = "no frame" if stream.type == "video" else "no sound in it"
        raise Unreadable("it cannot be decoded" if lost else nothing)
    if lost:
        name = stream.container.name.replace("<none>", "A file")
        log.warning("%s: %d packets cannot be decoded; the rest is kept", name, lost)


def time_of(frame: Any) -> float | None:
    """The time at which a frame is shown, in seconds by the clock of its file; None if unknown."""
    ticks = frame.dts if frame.pts is None else frame.pts
    return None if ticks is None else float(ticks * frame.time_base)


def bounded(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the same arrays. Raises: Unreadable: they exceed the size limit of an item."""
    total = 0
    for part in rows:
        total += part.nbytes
        if total > MOST_BYTES:
            raise Unreadable(TOO_LARGE)
        yield part


def _file(item: Item, empty: str = "empty file") -> IO[bytes]:
    """Open an item as a file; pipes and devices are not opened. Raises: Unreadable, OSError."""
    item = item() if callable(item) else item
    status = None if isinstance(item, bytes) else os.stat(str(item))
    if status and not stat.S_ISREG(status.st_mode):
        raise Unreadable("not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    if not (status.st_size if status else len(item)):
        raise Unreadable(empty)
    return io.BytesIO(item) if isinstance(item, bytes) else open(str(item), "rb", buffering=0)


@contextlib.contextmanager
def _blamed(item: Item) -> Iterator[None]:
    """Convert any error inside to `Unreadable` or `WithholdError`, because a damaged file can raise nearly anything."""
    try:
        yield
    except (Unreadable, WithholdError):
        raise
    except Exception as error:
        number = getattr(error, "errno", None)  # errors of damaged images have none
        reason = str(error).strip().rstrip(".") or type(error).__name__
        if isinstance(error, EOFError):
            reason = "it ends before its first frame"
        elif type(error).__module__ == "av.error":  # FFmpeg reports damaged files as lack of memory or permission, too
            reason = "unknown format"
        elif isinstance(error, UnidentifiedImageError):
            reason = "not an image"
        elif number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            reason = "missing file"
        elif isinstance(error, MemoryError) or number is not None:
            name, why = item if isinstance(item, str) else "A file", getattr(error, "strerror", "out of memory")
            told = f"{name} could not be read ({why}). The file may be fine: solve this and run the command again."
            raise WithholdError(told) from error
        raise Unreadable(reason) from error
