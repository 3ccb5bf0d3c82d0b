"""Claim: on a GPU, SimCLR with ResNet-18 learns from CIFAR-10 within minutes: images a second, and k-NN accuracy after.

    python benchmarks/claims/gpu.py DATA [--epochs 200] [--seed 0]     DATA: a folder with train.parquet, test.parquet

Batches of 512, in bfloat16, the encoder compiled. The result goes to benchmarks/results/gpu.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import record

import withhold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, test = (str(options.data / f"{part}.parquet") for part in ("train", "test"))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = withhold.train(
            "simclr", train, encoder="resnet18", batch_size=512, epochs=options.epochs, seed=options.seed,
            out=Path(folder) / "run",
        )  # fmt: skip
        minutes = (time.perf_counter() - began) / 60
        rows = run.evaluate(train, test, protocols=("knn", "linear"))
        found = {
            "method": "simclr", "encoder": "resnet18", "batch_size": 512, "epochs": options.epochs,
            "seed": options.seed, "minutes_in_all": round(minutes, 2), "training": run.config["outcome"],
            "precision": run.config["hardware"]["precision"], "results": rows,
        }  # fmt: skip
        print(record(f"gpu/simclr-resnet18-{options.epochs:g}-{options.seed}", found, run))
    print({key: value for key, value in found.items() if key != "results"})
    for row in rows:
        print(row["encoder"], row["protocol"], round(row["value"], 4))


if __name__ == "__main__":
    main()
