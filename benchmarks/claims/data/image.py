"""Images: whole datasets, with a few labels, and with some of their classes."""

import itertools
from pathlib import Path

import numpy as np
from claims import figures as drawn
from claims.data.place import Place, Split, draw
from scipy.ndimage import distance_transform_edt, maximum_filter

from withhold import data
from withhold.data import Samples
from withhold.data.targets import Target


def cifar10(at: Place) -> Split:
    train, test = (data.load(at.root / f"cifar10/{part}.parquet", size=32, channels=3) for part in ("train", "test"))
    return Split((train,), train, test)


def digits(at: Place) -> Split:
    """scikit-learn's digits: 8 pixels, no file needed."""
    train, test = data.load("digits").split(0.2, at.seed)
    return Split((train,), train, test)


def images(at: Place, name: str, size: int = 32) -> Split:
    """The training and test images of a dataset; PACS's sketches and Omniglot's letters are split in halves."""
    if name == "pacs-sketch":
        train, test = data.load(at.root / "pacs" / "sketch.parquet", size=size, channels=3).split(0.5, at.seed)
    elif name == "omniglot":
        train, test = letters(at, size).split(0.5, at.seed)
    else:
        train, test = (data.load(part, size=size) for part in data.splits(str(at.root / name)).values())
    return Split((train,), train, test, {"size": size})


def without_class(at: Place, name: str, label: str) -> Split:
    """The training images of all classes but one, and all test images."""
    whole = images(at, name)
    known = whole.train.select(np.flatnonzero(whole.train.labels != whole.train.classes.index(label)))
    return Split((known,), known, whole.test)


def figures(at: Place) -> Split:
    """6,000 stick figures for training and 1,000 for testing, at 32 pixels, with the places of head, hands and feet."""
    found = []
    for place, count in enumerate((6000, 1000)):
        pictures, joints = drawn.figures(at.some(count), 32, 2 * at.seed + place)
        samples = data.load((pictures, np.zeros(len(pictures), dtype=np.int64)), size=32)
        samples.give("points", Target(joints))
        found.append(samples)
    return Split((found[0],), *found)


def letters(at: Place, size: int) -> Samples:
    """Omniglot's characters. Its folders are alphabets, with a folder per character."""
    samples = data.load(at.root / "omniglot" / "images_background_small1.zip", size=size)
    classes, numbers = np.unique([path.rpartition("/")[0] for path in samples.names], return_inverse=True)
    return samples.with_labels(numbers.astype(np.int64), tuple(classes.tolist()))


def places(at: Place, name: str) -> Split:
    """Frames of places for training, and of other places for testing; the label is the place.

    In DAVIS a place is one of twenty sequences, half of them for training. In CamVid a place is ten seconds of a drive;
    frames are one second apart.
    """
    if name == "davis":
        whole = data.load(at.root / "davis" / "images", "image", size=192, channels=3)
        _, numbers = np.unique([path.split("/")[0] for path in whole.names], return_inverse=True)
        parts = [whole.select(np.flatnonzero(numbers % 2 == rest)) for rest in (0, 1)]
        found = [numbers[numbers % 2 == rest] for rest in (0, 1)]
    else:
        folder = at.root / "camvid"
        parts = [data.load(f"{folder}::{part}", "image", size=192, channels=3) for part in ("train", "test")]
        drives = [[path.split("/")[-1].split("_")[0][:6] for path in part.names] for part in parts]
        found = [np.unique([f"{d} {i // 10}" for i, d in enumerate(drive)], return_inverse=True)[1] for drive in drives]
    train, test = (
        part.with_labels(numbers.astype(np.int64), tuple(map(str, range(numbers.max() + 1))))
        for part, numbers in zip(parts, found, strict=True)
    )
    return Split((train,), train, test, {"size": 192}, (train,))


def few_images(at: Place, name: str, count: int, size: int = 32) -> Split:
    """`count` labelled images, the same number per class, and all training images without labels."""
    whole = images(at, name, size)
    train, test = whole.train, whole.test
    kept = draw(train.labels, count, at.seed)
    labelled = train.with_labels(kept, train.classes)
    settings = {"flip": 0.0} if "mnist" in name else {}  # mirrored digits and clothes look like other things
    return Split((labelled, train), labelled.select(np.flatnonzero(kept >= 0)), test, settings | {"size": size})


def columns(at: Place, name: str, *chosen: str) -> Split:
    """Images with several targets: for PACS class and domain, for MNIST class, thickness and slant.

    A fifth of PACS is the test set.

    Args:
        chosen: the columns, all by default.
    """
    if name == "pacs":
        paths = sorted((at.root / "pacs").glob("*.parquet"))
        whole = data.load(data.Several(paths), size=64, channels=3, parts=("label", "domain"))
        names = tuple(path.stem for path in paths)
        parts = [(part, {"domain": Target(part.parts["domain"].values, names)}) for part in whole.split(0.2, at.seed)]
    else:
        parts = [(part, _shape(part.array[..., 0])) for part in (images(at, name).train, images(at, name).test)]
    for part, targets in parts:
        found = {"class": Target(np.asarray(part.labels), part.classes), **targets}
        part.give("targets", {column: found[column] for column in chosen or found})
    (train, _), (test, _) = parts
    return Split((train,), train, test)


def _shape(digits: np.ndarray) -> dict[str, Target]:
    """Digits [n, h, w] -> the thickness of their lines in pixels, and their slant to the right in degrees.

    Thickness is twice the mean distance to the background along the middle of lines (Morpho-MNIST: Castro et al., JMLR
    2019). Slant is that of the axis given by the second moments.
    """
    thick, slant = [], []
    for digit in digits / 255.0:
        distance = distance_transform_edt(np.pad(digit > 0.5, 1))
        middle = (distance > 0) & (distance == maximum_filter(distance, 3))
        thick.append(2 * distance[middle].mean() if middle.any() else np.nan)
        y, x = (axis - np.average(axis, weights=digit) for axis in np.indices(digit.shape))
        slant.append(np.degrees(np.arctan2(-(digit * x * y).sum(), (digit * y * y).sum())))
    return {name: Target(np.array(each, dtype=np.float32)) for name, each in (("thickness", thick), ("slant", slant))}


def halves(at: Place, name: str) -> Split:
    """PACS's photographs, or Omniglot's characters: one half for training, the other for queries."""
    samples = letters(at, 48) if name == "omniglot" else data.load(at.root / "pacs" / "photo.parquet", size=64)
    learned, asked = samples.split(0.5, at.seed)
    return Split((learned,), learned, asked)


def novel(at: Place, name: str) -> Split:
    """Classes for training, with labels, and other classes for testing.

    Omniglot: three alphabets with 86 characters for training, Greek and Latin with 50 for testing. CIFAR-10: training
    images of the first five classes, test images of the other five.
    """
    if name == "omniglot":
        train = test = letters(at, 48)
        new = np.array([Path(each).parent.name in ("Greek", "Latin") for each in train.classes])
    else:
        whole = images(at, name)
        train, test = whole.train, whole.test
        new = np.arange(len(train.classes)) >= 5
    known, asked = _only(train, ~new), _only(test, new)
    return Split((known,), known, asked, {"flip": 0.0} if name == "omniglot" else {})


def _only(samples: Samples, chosen: np.ndarray) -> Samples:
    """The samples of the chosen classes, bool [classes], without the names of the other classes."""
    rest = samples.select(np.flatnonzero(chosen[samples.labels]))
    return rest.with_labels((chosen.cumsum() - 1)[rest.labels], tuple(itertools.compress(samples.classes, chosen)))
