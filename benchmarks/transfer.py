"""Which training without labels transfers to what: `withhold compare --on` over three methods.

    python benchmarks/transfer.py

Each method trains the same small encoder for the same time on the photographs, paintings, cartoons and sketches of PACS
without labels. The frozen encoders are then measured on classes of PACS, masks of CamVid and boxes of BCCD, beside the
same encoder with random weights. WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import os
import tempfile
from pathlib import Path

import torch
from plan import paths
from record import record

import withhold
from withhold import data
from withhold.report import transfer

METHODS, SIZE, BUDGET = ("simclr", "rotation", "autoencoder"), 64, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="minutes of each training (default: %(default)s)")
    parser.add_argument("--try", dest="tried", action="store_true", help="measure little, and record nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(os.environ["WITHHOLD_DATA"])
    sources = [str(root / "pacs" / "photo.parquet"), str(root / "camvid"), str(root / "bccd")]
    images = data.load(paths(root), size=SIZE, channels=3)
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            withhold.train(
                method, images, encoder="convnet", size=SIZE, minutes=options.minutes, seed=0,
                out=Path(folder) / method, no_report=True,
            )
            for method in METHODS
        ]  # fmt: skip
        rows = transfer(runs, sources, 60 if options.tried else BUDGET)
        steps = {run.config["method"]: run.config["outcome"]["steps"] for run in runs}
    for row in rows:
        print(row, flush=True)
    if not options.tried:
        found = {"minutes": options.minutes, "budget": BUDGET, "size": SIZE, "steps": steps}
        record("transfer", found | {"rows": [row | {"run": Path(row["run"]).name} for row in rows]})


if __name__ == "__main__":
    main()
