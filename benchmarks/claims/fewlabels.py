"""Claim: with few labels, what learns from unlabelled items too names more test items rightly than labels alone do.

    python benchmarks/claims/fewlabels.py DATA METHOD... --labels 250 [--epochs 1.5] [--seed 0]
    python benchmarks/claims/fewlabels.py IMDB uda_text --labels 100 [--epochs 4] [--seed 0]

DATA holds a train and a test part, such as CIFAR-10 (parquet) or Fashion-MNIST (IDX). As many labels of each class are
kept, drawn by the seed; the other training images go without. IMDB holds train, test and unsup.parquet with the columns
text and label; what has no label at all is learned from too. Beside each method stands the same one with weight=0: the
labels alone, with the same views and steps; and beside those of texts scikit-learn's TF-IDF of the words of all
training texts with logistic regression on the same labels. What texts are learned with was chosen on 2,000 training
texts that nothing was learned from. Results go to benchmarks/results/fewlabels.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parent.parent))
from bert import logistic, tf_idf
from record import cpu_minutes, record

import withhold
from withhold import data, methods

EPOCHS = {"image": 1.5, "text": 4.0}


def draw(labels: np.ndarray, classes: int, count: int, seed: int) -> np.ndarray:
    """The labels of `count` items, as many of each class, and -1 for all others."""
    rng = np.random.default_rng(seed)
    kept = np.full(len(labels), -1)
    for number in range(classes):
        members = rng.permutation(np.flatnonzero(labels == number))[: count // classes]
        kept[members] = number
    return kept


def images(source: Path, count: int, seed: int) -> tuple[Any, Any, Any]:
    """Labelled, unlabelled and test images."""
    train, test = (data.load(part, size=32) for part in data.splits(str(source)).values())
    return train.with_labels(draw(train.labels, len(train.classes), count, seed), train.classes), train, test


def texts(source: Path, count: int, seed: int) -> tuple[Any, Any, Any]:
    """Labelled, unlabelled and test texts; labels go with those that have them."""
    parts = {}
    for part in ("train", "test", "unsup"):
        table = pyarrow.parquet.read_table(source / f"{part}.parquet")
        lines = [text.replace("<br />", " ") for text in table["text"].to_pylist()]
        parts[part] = (lines, table["label"].to_numpy())
    lines, labels = parts["train"]
    kept = draw(labels, labels.max() + 1, count, seed)
    known = np.flatnonzero(kept >= 0)
    return ([lines[row] for row in known], kept[known]), lines + parts["unsup"][0], parts["test"]


def claim(method: str, source: Path, count: int, epochs: float | None, seed: int, flip: float) -> None:
    kind = methods.find(method).needs["unlabelled"]
    labelled, unlabelled, test = {"image": images, "text": texts}[kind](source, count, seed)
    options: dict[str, Any] = {"image": {"encoder": "convnet", "flip": flip}, "text": {}}[kind]
    epochs, beside = epochs or EPOCHS[kind], []
    if kind == "text":
        known, asked = tf_idf(unlabelled, labelled[0], test[0])
        accuracy = logistic(known, labelled[1], asked, test[1])
        beside = [{"encoder": "tf-idf of words", "protocol": "logistic", "metric": "accuracy", "value": accuracy}]
    for name, parameters in ((method, {}), ("labels alone", {"weight": 0.0})):
        with tempfile.TemporaryDirectory() as folder:
            began = cpu_minutes()
            run = withhold.train(
                method, labelled, unlabelled, epochs=epochs, seed=seed, out=Path(folder) / "run", **options,
                **parameters,
            )  # fmt: skip
            minutes = cpu_minutes() - began
            protocols = ("classifier",) if kind == "text" else ("classifier", "linear")
            rows = run.evaluate(labelled, test, protocols=protocols) + beside
            found = {
                "method": name, "as": method, "data": source.name, "labels": count, "seed": seed, "epochs": epochs,
                "parameters": run.config["parameters"], "training_cpu_minutes": round(minutes, 2), "results": rows,
            }  # fmt: skip
            drawn = (run, labelled, unlabelled) if not parameters else ()
            ending = "" if not parameters else "-alone"
            record(f"fewlabels/{source.name}-{count}-{method}{ending}-{seed}", found, *drawn)
        shown = {f"{row['encoder']} {row['protocol']}": round(row["value"], 4) for row in rows}
        print(name, method, count, f"{minutes:.1f} min", shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("methods", nargs="+", metavar="METHOD")
    parser.add_argument("--labels", type=int, required=True)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--flip", type=float, default=0.5, help="0 where a mirror image is another class")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for method in options.methods:
        claim(method, options.data, options.labels, options.epochs, options.seed, options.flip)


if __name__ == "__main__":
    main()
