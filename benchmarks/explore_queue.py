"""Accuracy by number of labels in the order of the page of `withhold explore`, compared with random order.

PACS in all its styles, with a frozen EfficientNet-Lite0 with pretrained weights. As on the page, twenty items are asked
for at a time, each gets its true label, and the classifier (logistic regression) is refitted. Each draw has its own
pool that may be labelled, the same for both orders. WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from label import POOL, SEEDS, Features, pacs
from record import cpu_minutes, record

from withhold.exploring.adviser import ROUTES, Adviser
from withhold.exploring.asked import BATCH

LABELS = 200
"""The number of labels at which random order sets the accuracy to reach."""
ORDERS = {"queue": "", "random": "random"}


def curve(known: Features, strategy: str, seed: int) -> list[float]:
    """The test accuracy after every twenty labels. The pool is the first part of the order that the seed draws."""
    order = torch.randperm(len(known[1]), generator=torch.Generator().manual_seed(seed))
    features, truth = known[0][order], known[1][order].numpy()
    classes, labels = int(truth.max()) + 1, np.full(len(truth), -1)
    every, pool = Adviser(features, seed=seed), Adviser(features[:POOL], seed=seed)
    answers, found = None, []
    while (labels >= 0).sum() < LABELS:
        said = answers and dataclasses.replace(answers, shares=answers.shares[:POOL])
        items, _ = pool.queue(BATCH, labels[:POOL], [], said and said.shares, strategy)
        labels[items] = truth[items]
        answers = every.answer(labels, classes, ROUTES[0])
        found.append(float((answers.classes == truth)[POOL:].mean()) if answers else 0.0)
    return found


def labels_for(accuracy: float, found: list[float]) -> int | None:
    """The number of labels at which a curve reaches an accuracy; None if it never does."""
    return next((BATCH * (place + 1) for place, value in enumerate(found) if value >= accuracy), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--features", required=True, metavar="FILE", help="read the features from this file, or write them there"
    )
    options = parser.parse_args()
    kept = Path(options.features)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(pacs(Path(os.environ["WITHHOLD_DATA"])), kept)
    known = torch.load(kept)
    draws: list[dict[str, Any]] = []
    for seed in SEEDS:
        found = {name: curve(known, strategy, seed) for name, strategy in ORDERS.items()}
        goal = found["random"][-1]
        draws.append({
            "seed": seed, "accuracy": round(goal, 4),
            "labels": {name: labels_for(goal, one) for name, one in found.items()},
            "curves": {name: np.round(one, 4).tolist() for name, one in found.items()},
        })  # fmt: skip
        print(f"seed {seed}: {goal:.1%} with", *(f"{count} by {name}" for name, count in draws[-1]["labels"].items()))
    about = {"pool": POOL, "test": len(known[1]) - POOL, "batch": BATCH, "cpu_minutes": round(cpu_minutes(), 1)}
    print(record("explore-queue", about | {"draws": draws}))


if __name__ == "__main__":
    main()
