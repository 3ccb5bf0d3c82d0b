"""Claim: with few labels, what learns from unlabelled images too names more test images rightly than labels alone do.

    python benchmarks/claims/fewlabels.py DATA METHOD... --labels 250 [--epochs 3] [--seed 0]

DATA holds a train and a test part, such as CIFAR-10 (parquet) or Fashion-MNIST (IDX). As many labels of each class are
kept, drawn by the seed; the other training images go without. Beside each method stands the same one with weight=0: the
labels alone, with the same views and steps. Results go to benchmarks/results/fewlabels.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold
from withhold import data


def keep(samples: data.Samples, count: int, seed: int) -> data.Samples:
    """The samples with the labels of `count` of them only, as many of each class."""
    rng = np.random.default_rng(seed)
    kept = np.full(len(samples), -1)
    for number in range(len(samples.classes)):
        members = rng.permutation(np.flatnonzero(samples.labels == number))[: count // len(samples.classes)]
        kept[members] = number
    return samples.with_labels(kept, samples.classes)


def claim(method: str, source: Path, count: int, epochs: float, seed: int, flip: float) -> None:
    train, test = (data.load(part, size=32) for part in data.splits(str(source)).values())
    labelled = keep(train, count, seed)
    for name, parameters in ((method, {}), ("labels alone", {"weight": 0.0})):
        with tempfile.TemporaryDirectory() as folder:
            began = cpu_minutes()
            run = withhold.train(
                method, labelled, train, encoder="convnet", epochs=epochs, seed=seed, out=Path(folder) / "run",
                flip=flip, **parameters,
            )  # fmt: skip
            minutes = cpu_minutes() - began
            rows = run.evaluate(labelled, test, protocols=("classifier", "linear"))
            found = {
                "method": name, "as": method, "data": source.name, "labels": count, "seed": seed, "epochs": epochs,
                "parameters": run.config["parameters"], "training_cpu_minutes": round(minutes, 2), "results": rows,
            }  # fmt: skip
            drawn = (run, labelled, train) if not parameters else ()
            ending = "" if not parameters else "-alone"
            record(f"fewlabels/{source.name}-{count}-{method}{ending}-{seed}", found, *drawn)
        shown = {f"{row['encoder']} {row['protocol']}": round(row["value"], 4) for row in rows}
        print(name, method, count, f"{minutes:.1f} min", shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("methods", nargs="+", metavar="METHOD")
    parser.add_argument("--labels", type=int, required=True)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--flip", type=float, default=0.5, help="0 where a mirror image is another class")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for method in options.methods:
        claim(method, options.data, options.labels, options.epochs, options.seed, options.flip)


if __name__ == "__main__":
    main()
