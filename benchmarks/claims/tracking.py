"""Claim: what learns to colour videos by pointing follows masks better than fresh weights, raw colours and copying do.

    python benchmarks/claims/tracking.py DATA [--on davis fight-surv] [--seed 0]

DATA holds davis (images and masks of its sequences) and fight-surv (clips of surveillance cameras). For each data set
of --on a network is trained on its videos, without any mask, in about ten CPU minutes, and carries the first masks of
the DAVIS sequences through them. Trained on davis it has seen the frames that it is tested on, as anyone may who has a
video to follow something in; trained on fight-surv it has not. Neither how it is trained nor how masks are carried was
chosen by the masks: both are the papers'. Results go to benchmarks/results/tracking.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold

SIZE, BATCH = 128, 8
TRAINING = {
    "davis": {"folder": "davis/images", "epochs": 50.0, "fps": 12.0},
    "fight-surv": {"folder": "fight-surv", "epochs": 3.5, "fps": 6.0},
}


def claim(source: Path, name: str, seed: int, epochs: float | None) -> None:
    """Train on the videos of `name`, follow the masks of DAVIS, write down what came out."""
    chosen = TRAINING[name]
    with tempfile.TemporaryDirectory() as folder:
        began = cpu_minutes()
        run = withhold.train(
            "tracking_by_colorizing", source / chosen["folder"], size=SIZE, batch_size=BATCH,
            epochs=epochs or chosen["epochs"], seed=seed, out=Path(folder) / "run", fps=chosen["fps"],
        )  # fmt: skip
        minutes = cpu_minutes() - began
        rows = run.evaluate(source / "davis", protocols=("tracking",))
        found = {
            "method": "tracking_by_colorizing", "encoder": run.config["encoder"], "trained on": name, "seed": seed,
            "epochs": epochs or chosen["epochs"], "parameters": run.config["parameters"], "batch_size": BATCH,
            "training": run.config["outcome"], "training_cpu_minutes": round(minutes, 2), "results": rows,
        }  # fmt: skip
        record(f"tracking/{name}-{seed}", found, run)
    means = {f"{row['encoder']} {row['metric']}": round(row["value"], 4) for row in rows if "sequence" not in row}
    print(name, seed, f"{minutes:.1f} min", means, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--on", nargs="+", choices=list(TRAINING), default=list(TRAINING))
    parser.add_argument("--epochs", type=float, help="instead of those of the claim, to try it out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.on:
        claim(options.data, name, options.seed, options.epochs)


if __name__ == "__main__":
    main()
