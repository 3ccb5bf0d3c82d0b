"""Decoding of images to uint8 pixels of a given size."""

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import ExifTags, Image, ImageOps

from withhold.data import media
from withhold.data.kind import Item, Kind, Shape, Table, Unreadable
from withhold.errors import UsageError

DECODER = 1  # part of every cache key: raise it when the pixels that come out of `decode` change
NUMBERED = ("1", "L", "P", "I", "I;16")
"""Pillow's modes of images that hold numbers, such as masks."""
CHUNK = 2**26  # bytes of pixels that are decoded at a time


@dataclass(frozen=True)
class Pictures(Kind):
    """Visual data: images, or the frames of videos, as rows uint8 [size, size, channels]."""

    size: int | None = None
    channels: int | None = None

    def __post_init__(self):
        if self.size is not None and self.size < 1:
            raise UsageError(f"Images cannot be {self.size} pixels wide. Give a size of 1 or more.")
        if self.channels not in (None, 1, 3):
            raise UsageError(f"Images cannot have {self.channels} channels. Give 1 (grey) or 3 (colour).")

    @property
    def row(self) -> tuple[int, int, int]:
        """The shape of an image."""
        assert self.size is not None and self.channels is not None
        return self.size, self.size, self.channels

    @property
    def row_bytes(self) -> int:
        """Bytes of an image."""
        return math.prod(self.row)

    def suited(self, shape):
        return replace(self, size=self.size or default_size(shape.size), channels=self.channels or shape.channels)


@dataclass(frozen=True)
class Images(Pictures):
    """Images as rows uint8 [size, size, channels]; see `decode`.

    If None, `size` is the `default_size` of the median shorter side, and `channels` is 1 if all images are grey.
    """

    name = noun = "image"
    endings = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".avif", ".heic",
               ".heif")  # fmt: skip
    columns = ("image", "img", "path", "file", "filename", "file_name", "image_path", "bytes", "jpg", "png", "name")

    @property
    def key(self):
        return f"{self.size} {self.channels} {DECODER}" + " heif" * media.has_heif()

    @property
    def at_once(self):
        return min(max(CHUNK // self.row_bytes, 1), 1024)

    def measure(self, item):
        return Shape(short_side(item), 1 if is_grey(item) else 3)

    def decode(self, item):
        return decode(item, self.size, self.channels)


def default_size(side: int, most: int = 96) -> int:
    """The default size of square images, from their shorter side: the same, within 32..most.

    It is rounded up to a multiple of 4, or of 16 above 128, so that it can be divided into a transformer's patches.
    """
    step = 4 if side <= 128 else 16
    return min(max(32, -(-side // step) * step), most)


def decode(item: Item, size: int, channels: int) -> np.ndarray:
    """An image -> uint8 [size, size, channels]: its shorter side scaled to `size` (Lanczos), the centre square kept.

    An image whose shorter side already has `size` pixels is only cropped. EXIF rotation is applied; the first frame of
    an animation is used; transparent images are drawn on white; 16-bit values are divided by 257. 32-bit and floating
    values are scaled from the smallest of [0, 1] (floats), [0, 255] and [0, 65535] that contains them, or from their
    minimum and maximum if none does. Colour becomes grey (channels=1) as ITU-R 601-2 luma. Raises: Unreadable.
    """
    if isinstance(item, np.ndarray) and item.shape == (size, size, channels):
        return item
    with media.image(item) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * size, 2 * size))  # decodes at 1/2, 1/4 or 1/8, but at least twice `size`
        cropped = square(_plain(image), size)
        pixels = np.asarray(_in_mode(cropped, "L" if channels == 1 else "RGB"))
    return pixels.reshape(size, size, channels)


def whole(item: Item) -> np.ndarray:
    """An image -> uint8 [h, w, 1 or 3] at its own size, otherwise like `decode`. Raises: Unreadable."""
    with media.image(item) as image:
        pixels = np.array(_plain(image))
    return pixels.reshape(*pixels.shape[:2], -1)


def thumbnail(item: Item, size: int) -> Image.Image:
    """An image, upright, 8-bit grey or colour, reduced to fit into `size` x `size` pixels. Raises: Unreadable."""
    with media.image(item) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * size, 2 * size))
        small = _plain(image)
        small.thumbnail((size, size))
        return small


def extent(item: Item) -> tuple[int, int]:
    """Width and height of an image in pixels, upright, from its header. Raises: Unreadable."""
    with media.image(item) as image:
        # Pillow has already turned the size of a TIFF file.
        lying = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size[::-1] if lying else image.size


def extents(table: Table, rows: Sequence[int], usual: int) -> Iterator[tuple[int, int]]:
    """Yield the `extent` of the items of a table at `rows`; `usual` x `usual` pixels if one cannot be read."""
    for start in range(0, len(rows), 1024):
        for item in table.items(rows[start : start + 1024]):
            try:
                yield extent(item)
            except Unreadable:  # a stream replaces it by its neighbour
                yield usual, usual


def in_square(places: np.ndarray, extent: tuple[int, int], size: int) -> np.ndarray:
    """Coordinates x, y, x, y ... [..., 2k] in pixels of an image -> in its centre square, scaled to `size` pixels."""
    width, height = extent
    side = min(width, height)
    corner = [(width - side) // 2, (height - side) // 2] * (places.shape[-1] // 2)
    return (places - np.array(corner)) * (size / side)


def short_side(item: Item) -> int:
    """The shorter side of an image in pixels, from its header. Raises: Unreadable."""
    with media.image(item) as image:
        return min(image.size)


def is_grey(item: Item) -> bool:
    """Whether an image has no colour: it is stored as grey, or its channels are equal. Raises: Unreadable."""
    with media.image(item) as image:
        if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
            return True
    pixels = decode(item, 32, 3)
    return bool((pixels == pixels[..., :1]).all())


def encode(pixels: np.ndarray) -> bytes:
    """Pixels uint8 [h, w] or [h, w, c] -> a PNG file."""
    file = io.BytesIO()
    media.from_pixels(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """Any image -> L or RGB with 8 bits, upright."""
    image.load()
    upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_bytes(np.asarray(image), image.mode))
    target = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return _in_mode(image, target)


def upright(image: Image.Image) -> None:
    """Turn or mirror an image as its EXIF block says."""
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64))
    low, high = values.min(), values.max()
    tops = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        values, top = values - low, high - low or 1
    return np.rint(values * (255 / top)).astype(np.uint8)


def square(image: Image.Image, size: int, resampling: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """The centre square of an image, scaled to `size` pixels."""
    width, height = image.size
    side = min(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    box = (left, upper, left + side, upper + side)
    if side == size:
        return image if width == height else image.crop(box)
    return image.resize((size, size), resampling, box)
