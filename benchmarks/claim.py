"""Train and measure the rows of claims; write benchmarks/results/NAME.json.

    python benchmarks/claim.py                         list the claims and their controls
    python benchmarks/claim.py encoders/cifar10        run those whose names start so, and their missing controls
    python benchmarks/claim.py order --share 0.01      try them with 1 % of the training; nothing is recorded

The rows are defined in benchmarks/claims/rows.py. WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from claims import data, measures
from claims.data import Place
from claims.row import Claim
from claims.rows import CLAIMS, ROWS
from record import RESULTS, cpu_minutes, record

import withhold
from withhold import evaluation
from withhold.data import Samples
from withhold.methods import find
from withhold.training import defaults

KEPT = RESULTS.parent.parent / "runs"
"""Folder of the runs that other claims start from."""
ONE_STEP = 1e-9
"""Epochs of a run that provides only a randomly initialised encoder and decoded data."""
LEAST = 2000
"""The least number of labelled items to use when a claim is tried on a share of them."""


def measure(claim: Claim, share: float, peer: tuple[str, ...]) -> dict[str, Any]:
    """Train and measure a row, and record the result if the share is 1. Returns the result."""
    found: dict[str, Any] = {
        "method": claim.method, "data": claim.on, "encoder": claim.encoder, "epochs": claim.epochs, "seed": claim.seed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        at = Place(Path(os.environ.get("WITHHOLD_DATA", "")), Path(folder), claim.seed, share, peer)
        split = getattr(data, claim.data[0])(at, *claim.data[1:])
        drawn: tuple = ()
        if hasattr(measures, claim.method):  # a control without a network of withhold
            found |= getattr(measures, claim.method)(claim, split, at)
        else:
            needs = find(claim.like or claim.method).needs
            split = replace(split, streams=split.streams[: len(needs)])  # labelled data only, if it takes no more
            encoder, began = started(claim, at, share), cpu_minutes()
            run = trained(claim, encoder, split, at, share)
            if not claim.like:
                found |= {"parameters": run.config["parameters"], "training": run.config["outcome"]}
                found |= {"decoding": run.config["decoding"], "precision": run.config["training"]["precision"]}
                found["training_cpu_minutes"] = round(cpu_minutes() - began, 2)
            if claim.protocols:
                found["results"] = evaluate(claim, run, split, share)
            for name in claim.measures:
                found |= getattr(measures, name)(run, split, at)
            if claim in CLAIMS:
                drawn = (run, *(split.shown or split.streams))
        if share == 1:
            path = record(claim.name, found, *drawn)
            for picture in at.folder.glob("*.webp"):  # by measures
                shutil.copy(picture, path.with_suffix(f".{picture.name}"))
    return found


def started(claim: Claim, at: Place, share: float) -> str:
    """The encoder that a row starts from; that of another row is trained first."""
    if claim.start is None:
        return claim.encoder
    before = getattr(data, claim.start.data[0])(at, *claim.start.data[1:])
    return str(trained(claim.start, started(claim.start, at, share), before, at, share).folder)


def trained(claim: Claim, encoder: str, split: data.Split, at: Place, share: float) -> withhold.Run:
    """The run of a row. It is kept if other rows start from it."""
    others = share == 1 and any(row.start == claim for row in ROWS.values())
    folder = (KEPT if others else at.folder) / claim.name
    if (folder / "encoder.safetensors").is_file():
        return withhold.load(folder)
    return withhold.train(
        claim.like or claim.method, *split.streams, encoder=encoder, seed=claim.seed, out=folder,
        epochs=ONE_STEP if claim.like else share * claim.epochs, **split.settings | claim.settings,
    )  # fmt: skip


def evaluate(claim: Claim, run: withhold.Run, split: data.Split, share: float) -> list[dict[str, Any]]:
    """The rows of an evaluation that belong to this claim or control."""
    who = claim.method.partition("-")[0] if claim.like else "trained"
    if split.train is None:  # sequences with masks have no part to train on
        rows = run.evaluate(split.test, protocols=tuple(claim.protocols))
    else:
        train, test = (some(run.load_data(part), share) for part in (split.train, split.test))
        rows = evaluation.evaluate(
            run.encoder, train, test, claim.protocols, pixels=who == "raw", supervised=who == "supervised",
            controls=run.controls() if who in ("untrained", "start", "supervised") else None,
            learned=run.streams(*split.streams), told=train if "classifier" in claim.protocols else None,
            methods=run.methods() if who in ("trained", "untrained") else None,
            budget=round(share * claim.epochs * len(train)) or None, seed=claim.seed, device=defaults.device(),
        )  # fmt: skip
    networks = ("trained", "untrained", "start", "supervised")
    return [row for row in rows if (row["encoder"] if row["encoder"] in networks else "raw") == who]


def some(samples: Samples, share: float) -> Samples:
    """All samples for a claim; for a trial a share of them, but at least `LEAST`."""
    count = max(LEAST, round(share * len(samples)))
    if share == 1 or count >= len(samples):
        return samples
    return samples.select(np.random.default_rng(0).permutation(len(samples))[:count])


def show(name: str, found: dict[str, Any]) -> None:
    print("==", name)
    for row in found.get("results", ()):
        if "sequence" not in row:
            print("  ", *(f"{word:.4f}" if isinstance(word, float) else word for word in row.values()))
    more = {key: value for key, value in found.items() if key not in ("results", "training", "parameters")}
    print("  ", more, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="name of a claim, control or group, or its beginning")
    parser.add_argument("--share", type=float, default=1.0, help="share of the training; below 1 nothing is recorded")
    parser.add_argument(
        "--peer", nargs=2, default=(), metavar=("PYTHON", "SCRIPT"), help="Python and script that run gensim"
    )
    options = parser.parse_args()
    known = {name for name in ROWS if (RESULTS / f"{name}.json").exists()}
    if not options.names:
        for name in ROWS:
            print(f"{'measured' if name in known else 'not yet':10}{name}")
        return
    chosen = {name: row for name, row in ROWS.items() if name.startswith(tuple(options.names))}
    if not chosen:
        sys.exit(f"No claim starts with {' or '.join(options.names)}. Run without a name to list the claims.")
    if "WITHHOLD_DATA" not in os.environ and any(row.data != ("digits",) for row in chosen.values()):
        sys.exit("Set WITHHOLD_DATA to the folder of datasets.")
    if options.share == 1:
        lacked = [control for row in chosen.values() for control in row.controls if control.name not in known]
        chosen |= {control.name: control for control in lacked}
    for name, row in chosen.items():
        show(name, measure(row, options.share, tuple(options.peer)))


if __name__ == "__main__":
    main()
