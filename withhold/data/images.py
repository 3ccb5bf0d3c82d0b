"""One image, from whatever it is encoded in to uint8 pixels of the wanted size."""

import contextlib
import io
import os
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

DECODER = 1  # part of every cache key: raise it when the pixels that come out of `decode` change
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

# An encoded file, what reads one (and raises Unreadable), its path, or pixels uint8 [h, w] or [h, w, c].
Item = bytes | Callable[[], bytes] | str | np.ndarray


class Unreadable(Exception):
    """An image that cannot be decoded; its text is the reason, in a few words."""


def decode(item: Item, size: int, channels: int) -> np.ndarray:
    """An image -> uint8 [size, size, channels]: its shorter side scaled to `size` (Lanczos), the centre square kept.

    An image whose shorter side has `size` pixels already is cropped only. EXIF rotation is applied; of an animation the
    first frame counts; what is transparent is laid over white; 16-bit values are divided by 257. 32-bit and floating
    values are taken to fill the smallest of [0, 1] (floats), [0, 255] and [0, 65535] that holds them, and are stretched
    from minimum to maximum where none does. Colour becomes grey (channels=1) as ITU-R 601-2 luma.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(item, np.ndarray) and item.shape == (size, size, channels):
        return item
    with _readable(item) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * size, 2 * size))  # decodes at 1/2, 1/4 or 1/8, with twice the pixels that we need
        square = _square(_plain(image), size)
        pixels = np.asarray(_in_mode(square, "L" if channels == 1 else "RGB"))
    return pixels.reshape(size, size, channels)


def whole(item: Item) -> np.ndarray:
    """An image -> uint8 [h, w, 1 or 3] at its own size, otherwise as from `decode`. Raises: Unreadable."""
    with _readable(item) as image:
        pixels = np.array(_plain(image))
    return pixels.reshape(*pixels.shape[:2], -1)


def thumbnail(item: Item, size: int) -> Image.Image:
    """An image, upright, grey or colour with 8 bits, shrunk to fit into `size` pixels squared. Raises: Unreadable."""
    with _readable(item) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * size, 2 * size))
        small = _plain(image)
        small.thumbnail((size, size))
        return small


def short_side(item: Item) -> int:
    """The shorter side of an image in pixels, from its header. Raises: Unreadable."""
    with _readable(item) as image:
        return min(image.size)


def is_grey(item: Item) -> bool:
    """Whether an image has no colour: it is stored as grey, or its channels agree. Raises: Unreadable."""
    with _readable(item) as image:
        if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
            return True
    pixels = decode(item, 32, 3)
    return bool((pixels == pixels[..., :1]).all())


def encode(pixels: np.ndarray) -> bytes:
    """Pixels uint8 [h, w] or [h, w, c] -> a PNG file."""
    file = io.BytesIO()
    _from_pixels(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@contextlib.contextmanager
def _readable(item: Item):
    """The opened image; whatever goes wrong inside becomes `Unreadable`: a damaged file can raise nearly anything."""
    try:
        item = item() if callable(item) else item
        if isinstance(item, np.ndarray):
            yield _from_pixels(item)
        else:
            with Image.open(io.BytesIO(item) if isinstance(item, bytes) else item) as image:
                yield image
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_reason(item, error)) from error


def _reason(item: Item, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing file"
    if (isinstance(item, bytes) and not item) or (
        isinstance(item, str) and os.path.isfile(item) and not os.path.getsize(item)
    ):
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels: {str(error).split(',')[0]}"
    return str(error).strip().rstrip(".") or type(error).__name__


def _from_pixels(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def _plain(image: Image.Image) -> Image.Image:
    """Any image -> L or RGB with 8 bits, upright."""
    image.load()
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_bytes(np.asarray(image), image.mode))
    target = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return _in_mode(image, target)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64))
    low, high = values.min(), values.max()
    tops = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        values, top = values - low, high - low
    return np.rint(values * (255 / top)).astype(np.uint8)


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    side = min(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    box = (left, upper, left + side, upper + side)
    if side == size:
        return image if width == height else image.crop(box)
    return image.resize((size, size), Image.Resampling.LANCZOS, box)
