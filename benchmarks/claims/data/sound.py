"""Sounds, alone and with images or videos."""

import csv
import itertools
import zipfile
from pathlib import Path

import numpy as np
from claims.data.place import Place, Split
from PIL import Image

from withhold import data


def people(at: Place) -> Split:
    """Twelve clips of people who speak."""
    return Split((str(at.root / "av-clips"),), test=str(at.root / "av-clips"))


def spoken_digits(at: Place) -> Split:
    """Images and recordings of the same digit, as a CSV manifest with PNG and WAV files.

    The test set has other writers and other takes of each speaker. The pairing uses the labels: the claim is about
    learning from pairs, not about pairs that need no labels.
    """
    train, test = (_write_pairs(at, part)[0] for part in ("train", "test"))
    return Split((train,), train, test, {"flip": 0.0, "seconds": 0.5}, (test,))


def spoken_canvas(at: Place) -> Split:
    """The same with three digits on a canvas of 64 pixels, one of them spoken; the test set has their corners."""
    (train, _), test = (_write_pairs(at, part, 3) for part in ("train", "test"))
    return Split((train,), test=test, settings={"size": 64, "flip": 0.0, "seconds": 0.5}, shown=(test[0],))


def _write_pairs(at: Place, part: str, digits: int = 1) -> tuple[str, np.ndarray]:
    """Write pairs and a manifest. Returns its path, and the upper left corner of each spoken digit, int [n, 2]."""
    rng = np.random.default_rng([at.seed, part == "test"])
    pictures = data.load(f"{at.root / 'mnist'}::{part}", size=28)
    of_digit = [np.flatnonzero(pictures.labels == digit) for digit in range(10)]
    count = at.some({"train": 6000, "test": 300}[part])
    target = at.folder / part
    target.mkdir(parents=True)
    spoken = _recordings(at.root / "fsdd" / "recordings.zip", part)
    takes = {digit: itertools.cycle(rng.permutation(len(sounds)).tolist()) for digit, sounds in spoken.items()}
    for digit, sounds in spoken.items():
        for take, sound in enumerate(sounds):
            (target / f"{digit}-{take}.wav").write_bytes(sound)
    rows, corners = [("image", "sound", "label")], np.zeros((count, 2), dtype=np.int64)
    for item in range(count):
        said = item % 10
        others = rng.permutation(np.delete(np.arange(10), said))
        shown = [said, *others[: digits - 1]]
        image, *more = (pictures.read(rng.choice(of_digit[digit])[None])[0, :, :, 0] for digit in shown)
        if more:
            canvas = np.zeros((64, 64), np.uint8)
            for place, (quarter, digit) in enumerate(zip(rng.permutation(4), (image, *more), strict=False)):
                left, top = np.array(divmod(quarter, 2)) * 32 + rng.integers(0, 32 - 28 + 1, 2)
                canvas[top : top + 28, left : left + 28] = digit
                if place == 0:
                    corners[item] = left, top
            image = canvas
        Image.fromarray(image).save(target / f"{item}.png")
        rows.append((f"{item}.png", f"{said}-{next(takes[said])}.wav", said))
    with open(target / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(target / "pairs.csv"), corners


def few_sounds(at: Place, name: str, count: int) -> Split:
    """Spoken digits: `count` recordings, the same number per digit; the test set has other takes of the speakers."""
    manifests = []
    for part, kept in (("train", count // 10), ("test", None)):
        rng, rows = np.random.default_rng(at.seed), ["path,label"]
        (at.folder / part).mkdir(parents=True)
        for digit, sounds in _recordings(at.root / name / "recordings.zip", part).items():
            for take in rng.permutation(len(sounds))[:kept].tolist():
                (at.folder / part / f"{digit}-{take}.wav").write_bytes(sounds[take])
                rows.append(f"{digit}-{take}.wav,{digit}")
        manifests.append(at.folder / part / "recordings.csv")
        manifests[-1].write_text("\n".join(rows))
    train, test = map(str, manifests)
    return Split((train,), train, test)


def _recordings(path: Path, part: str) -> dict[int, list[bytes]]:
    """The WAV files of each digit; takes 0 to 4 of each speaker are the test set."""
    found: dict[int, list[bytes]] = {digit: [] for digit in range(10)}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".wav")):
            digit, _, take = Path(name).stem.split("_")
            if (int(take) < 5) == (part == "test"):
                found[int(digit)].append(archive.read(name))
    return found
