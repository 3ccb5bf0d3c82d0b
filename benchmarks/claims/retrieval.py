"""Claim: an encoder that learned without labels finds images of the same class, each way of pooling beside raw pixels.

    python benchmarks/claims/retrieval.py DATA pacs omniglot [--epochs 40] [--seed 0]

DATA holds the folders pacs and omniglot. SimCLR learns from one half of the images, drawn by the seed, without labels;
they teach the whitening too. Every image of the other half asks for the others of its class: of PACS's photographs an
object's, of Omniglot a character's. Results go to benchmarks/results/retrieval.
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

SIZES = {"pacs": 64, "omniglot": 48}


def halves(name: str, root: Path, seed: int) -> tuple[Samples, Samples]:
    """The half to learn from and the half to ask for."""
    source = root / ("pacs/photo.parquet" if name == "pacs" else "omniglot/images_background_small1.zip")
    samples = data.load(source, size=SIZES[name])
    if name == "omniglot":  # whose folders are alphabets, with a folder for each character in them
        classes, numbers = np.unique([path.rpartition("/")[0] for path in samples.names], return_inverse=True)
        samples = samples.with_labels(numbers.astype(np.int64), tuple(classes.tolist()))
    return samples.split(0.5, seed)


def claim(name: str, root: Path, epochs: float, seed: int) -> None:
    learned, asked = halves(name, root, seed)
    with tempfile.TemporaryDirectory() as folder:
        began = cpu_minutes()
        run = withhold.train("simclr", learned, encoder="convnet", epochs=epochs, seed=seed, out=Path(folder) / "run")
        minutes = cpu_minutes() - began
        rows = run.evaluate(learned, asked, protocols=("retrieval",))
        about = {"data": name, "seed": seed, "epochs": epochs, "training_cpu_minutes": round(minutes, 2)}
        record(f"retrieval/{name}-{seed}", about | {"results": rows}, run, learned)
    for row in rows:
        print(name, row["encoder"], row["pooling"], "whitened" if row["whitened"] else "plain", round(row["value"], 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="+", choices=list(SIZES))
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.names:
        claim(name, options.data, options.epochs, options.seed)


if __name__ == "__main__":
    main()
