"""Images of every format and mode decode to the same pixels: four coloured quarters."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from withhold.data.images import decode, encode, is_grey, short_side, thumbnail, whole
from withhold.data.kind import Unreadable

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (120, 120, 120)}


def quarters(size=64) -> np.ndarray:
    half = size // 2
    pixels = np.zeros((size, size, 3), np.uint8)
    for (row, column), colour in zip([(0, 0), (0, 1), (1, 0), (1, 1)], COLOURS.values(), strict=True):
        pixels[row * half : (row + 1) * half, column * half : (column + 1) * half] = colour
    return pixels


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def centres(pixels: np.ndarray) -> np.ndarray:
    """The four values in the middle of the quarters [4, c]."""
    near, far = pixels.shape[0] // 4, 3 * pixels.shape[0] // 4
    return pixels[[near, near, far, far], [near, far, near, far]].astype(int)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("GIF", {}),
        ("AVIF", {"quality": 100}),
    ],
)
@pytest.mark.parametrize("size", [64, 32, 16])
def test_formats(kind, options, size):
    pixels = decode(saved(Image.fromarray(quarters()), kind, **options), size, 3)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(centres(pixels) - list(COLOURS.values())).max() <= (6 if kind in ("JPEG", "GIF", "AVIF") else 0)


def test_heic_is_read_where_its_package_is():
    pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = decode(saved(Image.fromarray(quarters()), "HEIF", quality=100), 64, 3)
    assert np.abs(centres(pixels) - list(COLOURS.values())).max() <= 6


def test_gif_gives_its_first_frame():
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, 32, 3)[5, 5].tolist() == [250, 0, 0]


def test_palette_with_and_without_transparency():
    image = Image.fromarray(quarters()).quantize(8)
    assert np.abs(centres(decode(saved(image, "PNG"), 64, 3)) - list(COLOURS.values())).max() <= 2
    first = image.getpixel((0, 0))
    clear = centres(decode(saved(image, "PNG", transparency=first), 64, 3))
    assert clear[0].tolist() == [255, 255, 255]
    assert np.abs(clear[1:] - list(COLOURS.values())[1:]).max() <= 2


def test_transparency_is_laid_over_white():
    alpha = np.full((64, 64, 1), 51, np.uint8)
    pixels = decode(saved(Image.fromarray(np.concatenate([quarters(), alpha], 2)), "PNG"), 64, 3)
    expected = np.array(list(COLOURS.values())) * 0.2 + 255 * 0.8
    assert np.abs(centres(pixels) - expected).max() <= 1
    grey = Image.merge("LA", [Image.new("L", (32, 32), 100), Image.new("L", (32, 32), 51)])
    assert abs(int(decode(saved(grey, "PNG"), 32, 1)[0, 0, 0]) - 224) <= 1


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(saved(Image.fromarray(ramp), kind), 32, 1)[..., 0]
        assert np.abs(pixels - ramp / 257).max() <= 0.5


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floating_point_tiff(top):
    ramp = np.linspace(0, top, 32 * 32, dtype=np.float32).reshape(32, 32)
    assert np.abs(decode(saved(Image.fromarray(ramp), "TIFF"), 32, 1)[..., 0] - ramp * (255 / top)).max() <= 0.51
    stretched = decode(saved(Image.fromarray(ramp - top), "TIFF"), 32, 1)[..., 0]  # negative: fits no usual range
    assert np.abs(stretched - ramp * (255 / top)).max() <= 0.51


def test_cmyk():
    image = Image.fromarray(quarters()).convert("CMYK")
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 95, "subsampling": 0})):
        assert np.abs(centres(decode(saved(image, kind, **options), 64, 3)) - list(COLOURS.values())).max() <= 8


def test_bilevel_and_grey():
    image = Image.fromarray((quarters()[..., 0] > 100).astype(np.uint8) * 255).convert("1")
    assert set(np.unique(decode(saved(image, "PNG"), 64, 1))) == {0, 255}
    grey = decode(saved(Image.new("L", (40, 40), 77), "PNG"), 32, 3)
    assert grey.shape == (32, 32, 3)
    assert (grey == 77).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation):
    undo = {2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1], 5: lambda p: p.swapaxes(0, 1)}
    undo |= {6: lambda p: np.rot90(p), 7: lambda p: p.swapaxes(0, 1)[::-1, ::-1], 8: lambda p: np.rot90(p, -1)}
    stored = undo.get(orientation, lambda p: p)(quarters())
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", quality=95, subsampling=0, exif=exif)
    assert np.abs(centres(decode(data, 32, 3)) - list(COLOURS.values())).max() <= 6


def test_the_shorter_side_is_scaled_and_the_centre_kept():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    assert (decode(encode(wide), 20, 3) == wide[:, 20:40]).all()  # the right size already: not resampled
    middle = decode(encode(wide), 10, 3)
    assert middle.shape == (10, 10, 3)
    assert (np.abs(middle[:, 2:-2].astype(int) - 200) <= 1).all()


def test_large_jpeg_comes_out_like_a_plain_resize():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(
        (1200, 1200), Image.Resampling.BICUBIC
    )
    data = saved(smooth, "JPEG", quality=95)
    plain = np.asarray(Image.open(io.BytesIO(data)).resize((48, 48), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(decode(data, 48, 3) - plain).mean() < 1.5


def test_pixels_are_taken_as_they_are():
    pixels = quarters(32)
    assert decode(pixels, 32, 3) is pixels
    assert decode(pixels[..., 0], 16, 1).shape == (16, 16, 1)


def test_grey_is_recognised():
    assert is_grey(saved(Image.new("L", (9, 9), 3), "PNG"))
    assert is_grey(saved(Image.new("RGB", (9, 9), (50, 50, 50)), "JPEG"))
    assert not is_grey(saved(Image.fromarray(quarters()), "PNG"))
    assert short_side(encode(np.zeros((30, 50), np.uint8))) == 30


def test_whole_keeps_the_size():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 60, 3), dtype=np.uint8)
    assert (whole(encode(pixels)) == pixels).all()
    assert whole(encode(pixels[..., 0])).shape == (20, 60, 1)


def bomb() -> bytes:
    """A PNG that says it has 50,000 x 50,000 pixels."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not an image"),
        ("nowhere.png", "missing file"),
        (bomb(), "exceeds limit"),
        (saved(Image.fromarray(quarters()), "JPEG")[:700], "truncated"),
        (
            saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG")[
                :5000
            ],
            "truncated",
        ),
    ],
)
def test_damaged_images_say_why(item, reason):
    with pytest.raises(Unreadable, match=reason):
        decode(item, 32, 3)


def test_a_thumbnail_fits_and_is_never_enlarged():
    photo = np.zeros((300, 900, 3), np.uint8)
    photo[:, 450:] = (250, 10, 10)
    for kind in ("JPEG", "PNG"):
        file = io.BytesIO()
        Image.fromarray(photo).save(file, kind)
        small = thumbnail(file.getvalue(), 90)
        assert (small.size, small.mode) == ((90, 30), "RGB")
        np.testing.assert_allclose(np.asarray(small)[15, [10, 80]], [[0, 0, 0], [250, 10, 10]], atol=4)
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    small = thumbnail(pixels, 90)
    assert small.mode == "L"
    assert (np.asarray(small) == pixels[..., 0]).all()
    with pytest.raises(Unreadable, match="not an image"):
        thumbnail(b"no", 90)
