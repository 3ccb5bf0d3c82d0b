"""Images of several domains, and images with masks or boxes."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import torch
from claims.data.place import Place, Split
from PIL import Image, ImageDraw, ImageFont

from withhold import data
from withhold.data import Samples


def streets(at: Place) -> Split:
    """CamVid: training frames, and test frames with masks."""
    lines = ["image,mask"]
    for image in sorted((at.root / "camvid" / "images" / "test").glob("*.jpg")):
        lines.append(f"{image},{at.root / 'camvid' / 'masks' / 'test' / image.stem}.png")
    at.folder.mkdir(parents=True, exist_ok=True)
    (at.folder / "test.csv").write_text("\n".join(lines))
    train = data.load(at.root / "camvid" / "images" / "train", size=128, channels=3)
    test = data.load(at.folder / "test.csv", size=128, channels=3, parts=("mask",))
    return Split((train,), test=test, settings={"size": 128}, shown=(test,))


def camvid(at: Place) -> Split:
    """CamVid: frames from a car with masks, 367 for training and 233 for testing."""
    train, test = (_frames(at, part) for part in ("train", "test"))
    return Split((train,), train, test, {"size": 128})


def bccd(at: Place) -> Split:
    """BCCD: blood under a microscope with boxes of three kinds of cells, 292 images for training and 72 for testing."""
    parts = (f"{at.root / 'bccd'}::{part}" for part in ("train", "test"))
    train, test = (data.load(part, size=128, channels=3, parts=("boxes",)) for part in parts)
    return Split((train,), train, test, {"size": 128})


def weather(at: Place, labelled: str, unlabelled: str) -> Split:
    """CamVid's frames of one domain with masks, and of another without, which is the test domain: day, dusk or fog."""
    train = {name: _weather(at, name, "train") for name in {labelled, unlabelled}}
    test = _weather(at, unlabelled, "test")
    return Split((train[labelled], train[unlabelled]), train[labelled], test, {"size": 128})


def _frames(at: Place, part: str) -> Samples:
    return data.load(f"{at.root / 'camvid'}::{part}", size=128, channels=3, parts=("mask",))


def _weather(at: Place, name: str, part: str) -> Samples:
    """The frames of the one drive at dusk (0001TP), or of the other drives, by day or in synthetic fog.

    Fog grows with distance, which is estimated from the pixel row: none at the bottom, most above the horizon.
    """
    frames = _frames(at, part)
    dusk = np.array([Path(path).name.startswith("0001TP") for path in frames.names])
    chosen = frames.select(np.flatnonzero(dusk == (name == "dusk")))
    if name != "fog":
        return chosen
    height = chosen.shape[0]
    distance = np.clip((1 - np.arange(height) / height) / 0.6, 0, 1)
    clear = np.exp(-2 * distance)[None, :, None, None]
    pixels = (clear * chosen.array + (1 - clear) * 200).round().astype(np.uint8)
    fog = data.load((pixels, np.zeros(len(pixels), dtype=np.int64)), size=height)
    fog.give("mask", chosen.parts["mask"])
    return fog


def domains(at: Place, labelled: str, unlabelled: str, asked: str = "") -> Split:
    """Digits of one domain with labels, of another without, and a test set, by default of the latter."""
    train = {name: _domain(at.root, name, "train") for name in {labelled, unlabelled}}
    test = _domain(at.root, asked or unlabelled, "test")
    return Split((train[labelled], train[unlabelled]), train[labelled], test)


def _domain(root: Path, name: str, part: str) -> Samples:
    """MNIST, USPS, or "colour": as in MNIST-M, digits that invert the pixels of a crop of a photograph, from DAVIS."""
    if name != "colour":
        return data.load(f"{root / ('usps/usps.npz' if name == 'usps' else name)}::{part}", size=28, channels=3)
    digits = data.load(f"{root / 'mnist'}::{part}", size=28, channels=3)
    photos = data.load(root / "davis" / "images", "image", size=192, channels=3).array
    rng = np.random.default_rng(0 if part == "train" else 1)
    chosen = rng.integers(len(photos), size=len(digits))
    tops, lefts = rng.integers(192 - 28 + 1, size=(2, len(digits)))
    squares = np.stack([photos[i, y : y + 28, x : x + 28] for i, y, x in zip(chosen, tops, lefts, strict=True)])
    blended = np.abs(squares.astype(np.int16) - digits.array)
    return data.load((blended.astype(np.uint8), digits.labels), size=28, channels=3)


def other_domain(at: Place, left_out: str, size: int = 64) -> Split:
    """PACS: all domains but one for training, and that one for testing."""
    paths = sorted((at.root / "pacs").glob("*.parquet"))
    known = data.Several(path for path in paths if path.stem != left_out)
    train = data.load(known, size=size, channels=3, parts=("label", "domain"))
    test = data.load(at.root / "pacs" / f"{left_out}.parquet", size=size, channels=3)
    return Split((train,), train, test, {"size": size})


def two_hands(at: Place) -> Split:
    """USPS and equally many images of MNIST; the test images of both.

    USPS's digits fill their images. Here they get MNIST's margins, because CycleGAN does not learn changes of size
    (Zhu et al., ICCV 2017, under limitations).
    """
    found = []
    for part in ("train", "test"):
        digits = data.load(f"{at.root / 'usps' / 'usps.npz'}::{part}", size=16, channels=1)
        framed = np.pad(digits.array, ((0, 0), (3, 3), (3, 3), (0, 0)))  # 16 of 22 pixels, as MNIST's have 20 of 28
        mnist = data.load(f"{at.root / 'mnist'}::{part}", size=32, channels=1)
        found.append((mnist, data.load((framed, digits.labels), size=32, channels=1)))
    (mnist, usps), test = found
    some = torch.randperm(len(mnist), generator=torch.Generator().manual_seed(0))[: len(usps)]
    return Split((mnist.select(some), usps), test=test, settings={"flip": 0.0})


TYPEFACES = r"DejaVu(Sans|SansMono|Serif)(-|$)|STIXGeneral|cm(r|b|ss|tt)10"
"""Matplotlib's fonts whose digits have one size."""


def printed_digits(at: Place) -> Split:
    """10,000 digits printed in Matplotlib's fonts, and MNIST without labels; MNIST's test images."""
    count = at.some(10_000)
    rng, folder = np.random.default_rng(at.seed), Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [path for path in sorted(folder.glob("*.ttf")) if re.match(TYPEFACES, path.stem)]
    labels, images = rng.integers(10, size=count), []
    for label in labels:
        font = ImageFont.truetype(fonts[rng.integers(len(fonts))], round(96 * rng.uniform(0.9, 1.15)))
        page = Image.new("L", (112, 112))
        ImageDraw.Draw(page).text(tuple(rng.uniform(50, 62, 2)), str(label), 255, font, anchor="mm")
        images.append(page.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR).resize((28, 28)))
    printed = data.load((np.stack(images), labels), size=28, channels=1)
    train, test = (data.load(f"{at.root / 'mnist'}::{part}", size=28, channels=1) for part in ("train", "test"))
    return Split((printed, train), printed, test, {"size": 28})
