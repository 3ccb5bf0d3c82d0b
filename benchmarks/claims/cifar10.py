"""Claim: on CIFAR-10, each image method beats its untrained encoder, on the linear probe and on ten labels per class.

    python benchmarks/claims/cifar10.py DATA METHOD... [--seed 0]     DATA: a folder with train.parquet, test.parquet
    python benchmarks/claims/cifar10.py DATA supervised [--seed 0]    a network with all the labels, and raw pixels
    python benchmarks/claims/cifar10.py DATA untrained [--seed 0]     the same networks with fresh weights

Every method trains the same small network on the 50,000 training images without their labels, for about ten
CPU minutes: `EPOCHS` fixes how often it sees them, so that a run can be repeated. It is probed with the labels on the
10,000 test images. `mae` needs a transformer and has controls of its own. Results go to benchmarks/results/claims.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold
from withhold import data, evaluation, nets
from withhold.evaluation.features import plain_batches
from withhold.evaluation.supervised import Supervised
from withhold.evaluation.supervised import train as train_supervised
from withhold.runs.build import build_encoder

PROTOCOLS = ("knn", "linear", "lowshot")
EPOCHS = {
    "autoencoder": 3, "denoising_autoencoder": 3, "context_encoder": 2, "colorization": 3, "mae": 2,
    "rotation": 2, "jigsaw": 10, "relative_position": 7, "simclr": 4, "moco": 6, "byol": 3, "lejepa": 2,
    "supervised": 10,
}  # fmt: skip
TRANSFORMERS = ("mae",)


def write(
    name: str, seed: int, encoder: str, rows: list[dict], minutes: float = 0.0, run: withhold.Run | None = None, **more
) -> None:
    epochs = EPOCHS.get(name, 0)
    found = {
        "method": name,
        "encoder": encoder,
        "seed": seed,
        "epochs": epochs,
        "training_cpu_minutes": round(minutes, 2),
    }
    record(f"claims/{name}-{encoder}-{seed}", found | more | {"results": rows}, run)
    print(name, encoder, seed, {f"{r['protocol']}{r.get('shots', '')}": round(r["value"], 4) for r in rows}, flush=True)


def claim(method: str, source: Path, seed: int) -> None:
    """Train `method`, probe its encoder, write down what came out."""
    encoder = "vit-tiny" if method in TRANSFORMERS else "convnet"
    with tempfile.TemporaryDirectory() as folder:
        began = cpu_minutes()
        run = withhold.train(
            method,
            source / "train.parquet",
            encoder=encoder,
            epochs=EPOCHS[method],
            seed=seed,
            out=Path(folder) / "run",
        )
        minutes = cpu_minutes() - began
        train, test = (run.load_data(source / f"{part}.parquet") for part in ("train", "test"))
        rows = evaluation.evaluate(run.encoder, train, test, PROTOCOLS, pixels=False, seed=seed)
        about = {"training": run.config["outcome"], "batch_size": run.config["batch_size"]}
        write(method, seed, encoder, rows, minutes, run, **about)


def supervised(source: Path, seed: int) -> None:
    """The small network with all the labels, and the pixels themselves."""
    train, test = (data.load(source / f"{part}.parquet", size=32, channels=3) for part in ("train", "test"))
    device = torch.device("cpu")
    encoder = build_encoder({"name": "convnet", "size": 32, "channels": 3, "pretrained": False}, seed)
    began = cpu_minutes()
    images = round(EPOCHS["supervised"] * len(train))
    learner = train_supervised(Supervised, encoder, train, images=images, seed=seed, device=device)
    minutes = cpu_minutes() - began
    nets.refresh_statistics(learner.encoder, plain_batches([train], device))
    rows = evaluation.evaluate(learner.encoder, train, test, PROTOCOLS, seed=seed)
    write("supervised", seed, "convnet", [row for row in rows if row["encoder"] == "trained"], minutes)
    write("pixels", seed, "none", [row for row in rows if row["encoder"] == "pixels"])


def untrained(source: Path, seed: int) -> None:
    """The encoders of all methods with fresh weights."""
    train, test = (data.load(source / f"{part}.parquet", size=32, channels=3) for part in ("train", "test"))
    for name, channels in (("convnet", 3), ("convnet", 1), ("vit-tiny", 3)):
        encoder = build_encoder({"name": name, "size": 32, "channels": channels, "pretrained": False}, seed)
        nets.refresh_statistics(encoder, plain_batches([train], "cpu"))
        rows = evaluation.evaluate(encoder, train, test, PROTOCOLS, pixels=False, seed=seed)
        write("untrained" if channels == 3 else "untrained-lightness", seed, name, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="+", metavar="METHOD | supervised | untrained")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.names:
        {"supervised": supervised, "untrained": untrained}.get(name, partial(claim, name))(options.data, options.seed)


if __name__ == "__main__":
    main()
