"""Test accuracy of `withhold learn` with few labels: the route that it chose, and all others.

    python benchmarks/learn.py                        all datasets, 30 minutes each
    python benchmarks/learn.py photographs --minutes 2 --try     a quick trial; nothing is recorded
    python benchmarks/learn.py mislabelled            how many of the first hundred suspected labels are wrong

WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import record

from withhold import data, evaluation, learn
from withhold.data.opening import kind_named, part_of
from withhold.learning.given import Given
from withhold.learning.walk import Walk
from withhold.runs import Run

HELD = 0.3
"""Share of the photographs in the test set."""
FLIPPED, ITEMS, NAMED = 0.05, 6000, 100

Sources = tuple[str, str, str, int]
"""The kind of data, the training source, the test source, and the number of labels per class."""


def cifar10(root: Path, place: Path) -> Sources:
    return "image", f"{root}/cifar10/train.parquet", f"{root}/cifar10/test.parquet", 10


def ag_news(root: Path, place: Path) -> Sources:
    return "text", f"{root}/text/ag_news/train.parquet", f"{root}/text/ag_news/test.parquet", 10


def photographs(root: Path, place: Path) -> Sources:
    """The photographs of PACS at 96 pixels, as files."""
    samples = data.load(root / "pacs" / "photo.parquet", size=96)
    for part, held in zip(("train", "test"), samples.split(HELD, 0), strict=True):
        for number, (image, label) in enumerate(zip(held.array, held.labels, strict=True)):
            folder = place / part / held.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png")
    return "image", str(place / "train"), str(place / "test"), 5


def esc10(root: Path, place: Path) -> Sources:
    """Folds 1 to 4 for training, and the fifth for testing."""
    with open(root / "esc10" / "meta.csv", newline="") as file:
        for row in csv.DictReader(file):
            folder = place / ("test" if row["fold"] == "5" else "train") / row["category"]
            folder.mkdir(parents=True, exist_ok=True)
            os.symlink(root / "esc10" / "audio" / row["filename"], folder / row["filename"])
    return "audio", str(place / "train"), str(place / "test"), 5


def compare(load: Callable[[Path, Path], Sources], root: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Run `learn` on a dataset, then train every route on all labels and measure it on the test items."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        kind, source, test, shots = load(root, place)
        part = part_of(source, kind_named(kind))
        (numbers, classes), names = part.labels(), part.table.names()
        rng = np.random.default_rng(seed)
        drawn = np.concatenate([rng.choice(np.flatnonzero(numbers == c), shots, False) for c in range(len(classes))])
        with open(place / "few.csv", "w", newline="", encoding="utf-8") as file:
            rows = [(names[i] or f"row {i + 1}", classes[numbers[i]]) for i in drawn]
            csv.writer(file).writerows([("path", "label"), *rows])
        parameters = {"seconds": 5.0} if kind == "audio" else {}
        given = Given(source, str(place / "few.csv"), kind, minutes, seed, parameters)
        (place / "run").mkdir()
        walk = Walk(place / "run", given, {}, lambda row: print(row, flush=True))
        walk.go(None, False, None)
        found = {"data": load.__name__, "labels": len(drawn), "minutes": minutes, "seed": seed}
        found |= {name: walk.state[name] for name in ("kept", "why", "rows")}
        found["test"] = {"kept": accuracy(Run(place / "run"), test)}
        for number, route in enumerate(walk.routes):
            if route.keep is not None:
                found["test"][route.name] = accuracy(route.keep(place / f"route{number}" / "run"), test)
        return found


def accuracy(run: Run, test: str) -> float:
    """The test accuracy of a run."""
    samples = run.load_data(test)
    said = evaluation.scores(run.method, samples).argmax(1).tolist()
    true = [samples.classes[label] for label in samples.labels]
    return float(np.mean([run.config["classes"][i] == name for i, name in zip(said, true, strict=True)]))


def wrong_labels(root: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Change labels of Fashion-MNIST to random other classes, and count them among the first hundred suspects."""
    rng = np.random.default_rng(seed)
    samples = data.load(root / "fashion-mnist" / "train-images-idx3-ubyte.gz", size=32)
    samples = samples.select(np.sort(rng.choice(len(samples), ITEMS, replace=False)))
    labels = np.array(samples.labels)
    wrong = rng.choice(ITEMS, round(FLIPPED * ITEMS), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        learn((samples.array, labels), encoder="convnet", minutes=minutes, seed=seed, out=out, report=print)
        state = json.loads((out / "learn.json").read_text())
    named = [int(row["item"]) for row in state["mislabelled"]]
    hits = np.isin(named, wrong)
    return {
        "data": "fashion-mnist", "items": ITEMS, "flipped": len(wrong), "minutes": minutes, "seed": seed,
        "kept": state["kept"], "rows": state["rows"], "named": len(named),
        "precision": float(hits[:NAMED].mean()), "recall": float(hits.sum() / len(wrong)),
    }  # fmt: skip


def main() -> None:
    sets = {load.__name__: load for load in (cifar10, photographs, esc10, ag_news)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join([*sets, 'mislabelled'])}")
    parser.add_argument("--minutes", type=float, default=30.0, help="minutes for each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed for drawing the labels (default: %(default)s)")
    parser.add_argument("--try", dest="tried", action="store_true", help="record nothing")
    options = parser.parse_args()
    root = Path(os.environ.get("WITHHOLD_DATA", "")).absolute()
    for name in options.names or [*sets, "mislabelled"]:
        if name == "mislabelled":
            found = wrong_labels(root, options.minutes, options.seed)
        else:
            found = compare(sets[name], root, options.minutes, options.seed)
        print(json.dumps(found, indent=1))
        if not options.tried:
            print(record(f"learn-{name}", found))


if __name__ == "__main__":
    main()
