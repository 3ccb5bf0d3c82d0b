"""Claim: with labels in one domain only, DANN names more images of another rightly than the source's labels do alone.

    python benchmarks/claims/domains.py DATA mnist-usps usps-mnist mnist-colour [--epochs 4] [--seed 0]

DATA holds the folders mnist, usps and davis. "colour" is MNIST as in MNIST-M, each digit's pixels inverted over a
square of a photograph, here of DAVIS's frames. The same network learns from both domains, from the source's labels
alone, and from the target's own labels, with the same views and steps. It has no batch normalisation: one that sees
both domains adapts too. All are measured on the target's test images by their own answers. Results go to
benchmarks/results/domains.
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
from withhold.data import Samples

ENCODER, SIZE, PHOTO = "lenet", 28, 192


def domain(name: str, part: str, root: Path) -> Samples:
    """A domain's "train" or "test" images in colour, if one of the two is."""
    if name != "colour":
        source = root / ("usps/usps.npz" if name == "usps" else name)
        return data.load(f"{source}::{part}", size=SIZE, channels=3)
    digits = data.load(f"{root / 'mnist'}::{part}", size=SIZE, channels=3)
    photos = data.load(root / "davis" / "images", "image", size=PHOTO, channels=3).array
    rng = np.random.default_rng(0 if part == "train" else 1)
    chosen = rng.integers(len(photos), size=len(digits))
    tops, lefts = rng.integers(PHOTO - SIZE + 1, size=(2, len(digits)))
    squares = np.stack([photos[i, y : y + SIZE, x : x + SIZE] for i, y, x in zip(chosen, tops, lefts, strict=True)])
    blended = np.abs(squares.astype(np.int16) - digits.array)
    return data.load((blended.astype(np.uint8), digits.labels), size=SIZE, channels=3)


def claim(pair: str, root: Path, epochs: float, seed: int) -> None:
    source, target = pair.split("-")
    labelled, unlabelled, test = (
        domain(name, part, root) for name, part in ((source, "train"), (target, "train"), (target, "test"))
    )
    trainings = {
        "dann": ((labelled, unlabelled), 1.0),
        "source only": ((labelled, labelled), 0.0),
        "target labels": ((unlabelled, unlabelled), 0.0),
    }
    for name, (streams, weight) in trainings.items():
        with tempfile.TemporaryDirectory() as folder:
            began = cpu_minutes()
            # As many steps for each: an epoch is one of the longest stream.
            passes = epochs * max(len(labelled), len(unlabelled)) / max(map(len, streams))
            run = withhold.train(
                "dann", *streams, encoder=ENCODER, epochs=passes, seed=seed, out=Path(folder) / "run", weight=weight
            )
            minutes = cpu_minutes() - began
            rows = run.evaluate(streams[0], test, protocols=("classifier",))
            found = {
                "method": name, "pair": pair, "encoder": ENCODER, "seed": seed, "epochs": epochs,
                "steps": run.config["outcome"]["steps"],
                "training_cpu_minutes": round(minutes, 2), "results": rows,
            }  # fmt: skip
            shown = (run, labelled, unlabelled) if weight else ()
            record(f"domains/{pair}-{name.replace(' ', '-')}-{seed}", found, *shown)
        shown = {f"{row['encoder']} {row['protocol']}": round(row["value"], 4) for row in rows}
        print(pair, name, f"{minutes:.1f} min", shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("pairs", nargs="+", choices=["mnist-usps", "usps-mnist", "mnist-colour"])
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for pair in options.pairs:
        claim(pair, options.data, options.epochs, options.seed)


if __name__ == "__main__":
    main()
