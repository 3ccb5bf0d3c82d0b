"""What claims are made on, a function for each data set: what is trained on, and what is measured on.

Each takes a `Place`. Data sets lie below its root, in the folders that the functions name.
"""

import csv
import gzip
import itertools
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow.parquet
import torch
from claims import figures as drawn
from claims.moving_mnist import clips
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, maximum_filter

from withhold import data
from withhold.data import Samples
from withhold.data.samples import Target


@dataclass(frozen=True)
class Place:
    """Where data sets are, a folder for what is made, a seed, how much is trained, and a peer's command."""

    root: Path
    folder: Path
    seed: int = 0
    share: float = 1.0
    peer: tuple[str, ...] = ()

    def some(self, count: int) -> int:
        """How many items to make, where a claim makes `count`."""
        return max(100, round(self.share * count))


@dataclass(frozen=True)
class Split:
    """What is trained on, one for each stream; and what is measured on.

    Args:
        train, test: labelled items, to teach a probe and to be named; or what else a measure takes.
        settings: options of the training that follow from the data.
        shown: what the picture beside the result is of; by default the streams.
    """

    streams: tuple
    train: Any = None
    test: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    shown: tuple = ()


def cifar10(at: Place) -> Split:
    train, test = (data.load(at.root / f"cifar10/{part}.parquet", size=32, channels=3) for part in ("train", "test"))
    return Split((train,), train, test)


def digits(at: Place) -> Split:
    """Those that scikit-learn carries: 8 pixels, no file."""
    train, test = data.load("digits").split(0.2, at.seed)
    return Split((train,), train, test)


def images(at: Place, name: str, size: int = 32) -> Split:
    """The training images of a data set and its test images: PACS's sketches and Omniglot's letters are halved."""
    if name == "pacs-sketch":
        train, test = data.load(at.root / "pacs" / "sketch.parquet", size=size, channels=3).split(0.5, at.seed)
    elif name == "omniglot":
        train, test = letters(at, size).split(0.5, at.seed)
    else:
        train, test = (data.load(part, size=size) for part in data.splits(str(at.root / name)).values())
    return Split((train,), train, test)


def without_class(at: Place, name: str, label: str) -> Split:
    """The training images of all classes but one, and all test images."""
    whole = images(at, name)
    known = whole.train.select(np.flatnonzero(whole.train.labels != whole.train.classes.index(label)))
    return Split((known,), known, whole.test)


def streets(at: Place) -> Split:
    """CamVid's training frames, and its test frames with masks of what is on them."""
    lines = ["image,mask"]
    for image in sorted((at.root / "camvid" / "images" / "test").glob("*.jpg")):
        lines.append(f"{image},{at.root / 'camvid' / 'masks' / 'test' / image.stem}.png")
    at.folder.mkdir(parents=True, exist_ok=True)
    (at.folder / "test.csv").write_text("\n".join(lines))
    train = data.load(at.root / "camvid" / "images" / "train", size=128, channels=3)
    test = data.load(at.folder / "test.csv", size=128, channels=3, parts=("mask",))
    return Split((train,), test=test, settings={"size": 128}, shown=(test,))


def camvid(at: Place) -> Split:
    """Frames from a car with the classes of their pixels, 367 to learn from and 233 to be measured on."""
    train, test = (_frames(at, part) for part in ("train", "test"))
    return Split((train,), train, test, {"size": 128})


def weather(at: Place, labelled: str, unlabelled: str) -> Split:
    """Such frames with masks, others without, and those to measure on, of the domain without: day, dusk or fog."""
    train = {name: _weather(at, name, "train") for name in {labelled, unlabelled}}
    test = _weather(at, unlabelled, "test")
    return Split((train[labelled], train[unlabelled]), train[labelled], test, {"size": 128}, tuple(train.values()))


def _frames(at: Place, part: str) -> Samples:
    return data.load(f"{at.root / 'camvid'}::{part}", size=128, channels=3, parts=("mask",))


def _weather(at: Place, name: str, part: str) -> Samples:
    """The frames of the one drive at dusk, 0001TP, or of the others; of these in fog, which hides what is far.

    How far that is, the row says: nothing at the bottom, and all above the horizon.
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


def figures(at: Place) -> Split:
    """6,000 figures to learn from and 1,000 others, of 32 pixels, with the places of their head, hands and feet."""
    found = []
    for place, count in enumerate((6000, 1000)):
        pictures, joints = drawn.figures(at.some(count), 32, 2 * at.seed + place)
        samples = data.load((pictures, np.zeros(len(pictures), dtype=np.int64)), size=32)
        samples.give("points", Target(joints))
        found.append(samples)
    return Split((found[0],), *found)


def letters(at: Place, size: int) -> Samples:
    """Omniglot's characters. Its folders are alphabets, with a folder for each character in them."""
    samples = data.load(at.root / "omniglot" / "images_background_small1.zip", size=size)
    classes, numbers = np.unique([path.rpartition("/")[0] for path in samples.names], return_inverse=True)
    return samples.with_labels(numbers.astype(np.int64), tuple(classes.tolist()))


def few_images(at: Place, name: str, count: int, size: int = 32) -> Split:
    """`count` labels, as many of each class, and all images without."""
    whole = images(at, name, size)
    train, test = whole.train, whole.test
    kept = _draw(train.labels, count, at.seed)
    labelled = train.with_labels(kept, train.classes)
    settings = {"flip": 0.0} if "mnist" in name else {}  # whose mirror images look like other things
    return Split((labelled, train), labelled.select(np.flatnonzero(kept >= 0)), test, settings)


def few_texts(at: Place, name: str, count: int) -> Split:
    """The same of texts; those that nobody labelled are learned from too."""
    parts = {}
    for part in ("train", "test", "unsup"):
        texts, labels = _table(at.root / "text" / name / f"{part}.parquet")
        parts[part] = [text.replace("<br />", " ") for text in texts], np.array(labels)
    texts, labels = parts["train"]
    kept = _draw(labels, count, at.seed)
    known = np.flatnonzero(kept >= 0)
    labelled = [texts[row] for row in known], kept[known]
    return Split((labelled, texts + parts["unsup"][0]), labelled, parts["test"])


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The labels of `count` items, as many of each class, and -1 for all others."""
    rng, kept, classes = np.random.default_rng(seed), np.full(len(labels), -1), labels.max() + 1
    for number in range(classes):
        kept[rng.permutation(np.flatnonzero(labels == number))[: count // classes]] = number
    return kept


def _table(path: Path) -> tuple[list[str], list]:
    """The texts of a parquet file and their labels."""
    table = pyarrow.parquet.read_table(path, columns=["text", "label"])
    return table["text"].to_pylist(), table["label"].to_pylist()


def domains(at: Place, labelled: str, unlabelled: str, asked: str = "") -> Split:
    """Digits with labels, digits without, and those to name, by default of the domain without."""
    train = {name: _domain(at.root, name, "train") for name in {labelled, unlabelled}}
    test = _domain(at.root, asked or unlabelled, "test")
    return Split((train[labelled], train[unlabelled]), train[labelled], test)


def _domain(root: Path, name: str, part: str) -> Samples:
    """MNIST, USPS, or "colour": as in MNIST-M, a digit's pixels inverted over a square of a photograph, of DAVIS."""
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
    """The domains of PACS but one, to learn from; and that one, to be measured on."""
    paths = sorted((at.root / "pacs").glob("*.parquet"))
    known = data.Several(path for path in paths if path.stem != left_out)
    train = data.load(known, size=size, channels=3, parts=("label", "domain"))
    test = data.load(at.root / "pacs" / f"{left_out}.parquet", size=size, channels=3)
    return Split((train,), train, test)


def columns(at: Place, name: str, *chosen: str) -> Split:
    """Items with what else is known of them: of PACS class and domain, of MNIST class, thickness and slant.

    A fifth of PACS is to be measured on.

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
    """Digits [n, h, w] -> how thick their lines are in pixels, and how far they lean to the right in degrees.

    Thickness is twice the mean distance to the background along the middle of lines (Morpho-MNIST: Castro et al., JMLR
    2019); slant is that of the axis that the second moments give.
    """
    thick, slant = [], []
    for digit in digits / 255.0:
        distance = distance_transform_edt(np.pad(digit > 0.5, 1))
        middle = (distance > 0) & (distance == maximum_filter(distance, 3))
        thick.append(2 * distance[middle].mean() if middle.any() else np.nan)
        y, x = (axis - np.average(axis, weights=digit) for axis in np.indices(digit.shape))
        slant.append(np.degrees(np.arctan2(-(digit * x * y).sum(), (digit * y * y).sum())))
    return {name: Target(np.array(each, dtype=np.float32)) for name, each in (("thickness", thick), ("slant", slant))}


def two_hands(at: Place) -> Split:
    """MNIST and as many of it as USPS has; to be measured on, the test images of both.

    USPS's digits fill their images; here they have the margins of MNIST's: another size is what CycleGAN does not learn
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
"""Of Matplotlib's fonts those that have digits of one size."""


def printed_digits(at: Place) -> Split:
    """10,000 digits printed in the fonts that Matplotlib carries, and MNIST without its labels; its test images."""
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


def halves(at: Place, name: str) -> Split:
    """PACS's photographs, or Omniglot's characters: a half to learn from, and a half to ask for."""
    samples = letters(at, 48) if name == "omniglot" else data.load(at.root / "pacs" / "photo.parquet", size=64)
    learned, asked = samples.split(0.5, at.seed)
    return Split((learned,), learned, asked)


def novel(at: Place, name: str) -> Split:
    """Classes to learn from with their labels, and others to be measured on.

    Of Omniglot three alphabets, 86 characters, and then Greek and Latin, 50; of CIFAR-10 the training images of its
    first five classes, and the test images of the other five.
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
    """The samples of the chosen classes, bool [classes], without the names of others."""
    rest = samples.select(np.flatnonzero(chosen[samples.labels]))
    return rest.with_labels((chosen.cumsum() - 1)[rest.labels], tuple(itertools.compress(samples.classes, chosen)))


def moving_mnist(at: Place) -> Split:
    """5,000 clips of the training digits and 500 of the test digits, uint8 [n, 20, 64, 64]."""
    made = []
    for place, (part, count) in enumerate((("train", 5000), ("test", 500))):
        digits = data.load(f"{at.root / 'mnist'}::{part}", size=28).array[..., 0]
        made.append(clips(digits, at.some(count), 2 * at.seed + place)[0])
    return Split((made[0],), made[0], made[1], {"flip": 0.0}, (made[1],))


def videos(at: Place, name: str) -> Split:
    """Fights in fight-surv, split by where they were filmed; words in miracl-lips, split by who says them."""
    settings = {"size": 48, "frames": {"fight-surv": 16, "miracl-lips": 12}[name], "fps": 15.0}
    samples = data.load(at.root / name, "video", **settings)
    speakers = [Path(path).name.split("_")[0] for path in samples.names]
    groups = _places(samples) if name == "fight-surv" else np.unique(speakers, return_inverse=True)[1]
    order = np.random.default_rng(at.seed).permutation(np.unique(groups))
    ends = np.cumsum([(groups == group).sum() for group in order])
    asked = np.isin(groups, order[ends <= len(groups) / 3])  # whole groups, until they are a third
    train, test = samples.select(np.flatnonzero(~asked)), samples.select(np.flatnonzero(asked))
    return Split((train,), train, test, settings, (test,))


def _places(samples: Samples) -> np.ndarray:
    """Where each video was filmed: a number, the same for all whose median frames are alike, directly or by others."""
    thumbs = []
    for item in range(len(samples)):
        middle = np.median(samples.whole(item).astype(np.float32), axis=0).mean(2)
        side = len(middle) // 3
        thumb = middle[: 3 * side, : 3 * side].reshape(side, 3, side, 3).mean((1, 3)).ravel()
        thumbs.append((thumb - thumb.mean()) / max(thumb.std(), 1e-6))
    alike = np.stack(thumbs) @ np.stack(thumbs).T / len(thumbs[0]) > 0.9
    group = np.arange(len(samples))
    while True:  # each takes the smallest number among its likes, until none changes
        smallest = np.where(alike, group[None], len(group)).min(1)
        if (smallest == group).all():
            return group
        group = smallest


def sequences(at: Place, name: str) -> Split:
    """Videos to learn from without any mask; the masks to carry are DAVIS's. Of DAVIS they are the same frames."""
    folder, fps = {"davis": ("davis/images", 12.0), "fight-surv": ("fight-surv", 6.0)}[name]
    return Split((at.root / folder,), test=at.root / "davis", settings={"size": 128, "fps": fps})


def wikitext(at: Place) -> Split:
    """WikiText-2's paragraphs without headings; its unknown words are those of our tokenizers."""
    parts = []
    for part in ("train", "test"):
        lines = gzip.decompress((at.root / "text" / "wikitext-2" / f"{part}.txt.gz").read_bytes()).decode().split("\n")
        texts = [line.replace("<unk>", "[UNK]").replace(" @-@ ", "-").replace(" @,@ ", ",").strip() for line in lines]
        parts.append([text for text in texts if text and not text.startswith("=")])
    return Split((parts[0],), test=parts[1])


def ag_news(at: Place) -> Split:
    """News without their topics; labels are drawn among those of 4,000."""
    train, test = (_table(at.root / "text" / "ag_news" / f"{part}.parquet") for part in ("train", "test"))
    return Split((train[0],), (train[0][:4000], train[1][:4000]), test)


def few_topics(at: Place, name: str, count: int) -> Split:
    """Texts: the labels of `count`, as many of each class, and all training texts without."""
    train, test = (_table(at.root / "text" / name / f"{part}.parquet") for part in ("train", "test"))
    kept = _draw(np.array(train[1]), count, at.seed)
    known = np.flatnonzero(kept >= 0)
    labelled = [train[0][row] for row in known], kept[known]
    return Split((labelled, train[0]), labelled, test)


def wikipedia(at: Place) -> Split:
    """Articles in lower case, letters only; and the folder of what people say of pairs of words."""
    table = pyarrow.parquet.read_table(at.root / "text" / "wiki-sample" / "articles.parquet", columns=["text"])
    texts = [re.sub("[^a-z]+", " ", text.lower()).strip() for text in table["text"].to_pylist()]
    return Split((texts,), test=at.root / "text" / "word-similarity")


def people(at: Place) -> Split:
    """Twelve clips of people who speak."""
    return Split((str(at.root / "av-clips"),), test=str(at.root / "av-clips"))


def spoken_digits(at: Place) -> Split:
    """Pictures and recordings of the same digit, as a csv manifest with PNG and WAV files.

    The test has other writers and other takes of each speaker. The pairing uses the labels, so that this shows what
    methods make of pairs, not that pairs come free of labels.
    """
    train, test = (_write_pairs(at, part)[0] for part in ("train", "test"))
    return Split((train,), train, test, {"flip": 0.0, "seconds": 0.5}, (test,))


def spoken_canvas(at: Place) -> Split:
    """The same with three digits on a canvas of 64 pixels, one of them spoken; the test's with their corners."""
    (train, _), test = (_write_pairs(at, part, 3) for part in ("train", "test"))
    return Split((train,), test=test, settings={"size": 64, "flip": 0.0, "seconds": 0.5}, shown=(test[0],))


def _write_pairs(at: Place, part: str, digits: int = 1) -> tuple[str, np.ndarray]:
    """Write pairs and their manifest; gives its path, and the upper left corner of each spoken digit, int [n, 2]."""
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
    """Spoken digits: `count` recordings, as many of each digit; to be named, other takes of the same speakers."""
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
    """The WAV files of every digit; takes 0 to 4 of each speaker are the test's."""
    found: dict[int, list[bytes]] = {digit: [] for digit in range(10)}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".wav")):
            digit, _, take = Path(name).stem.split("_")
            if (int(take) < 5) == (part == "test"):
                found[int(digit)].append(archive.read(name))
    return found
