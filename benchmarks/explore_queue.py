"""What the order of the page's queue is worth: labels for an accuracy on a test, beside labels of random items.

PACS in all its styles by a frozen EfficientNet-Lite0 with published weights, as the page of `withhold explore` works on
it: it asks for twenty items at a time, each gets its true label, and its classifier, logistic regression, answers anew.
Each draw has a pool of its own that may be labelled, the same for both orders. WITHHOLD_DATA names the folder of data
sets.
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
"""Those with which random order reaches the accuracy that both are to reach."""
ORDERS = {"queue": "", "random": "random"}


def curve(known: Features, strategy: str, seed: int) -> list[float]:
    """The accuracy on the test after each twenty labels; the pool comes first in the order that the seed draws."""
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
    """The labels after which a curve has reached an accuracy; None where it never does."""
    return next((BATCH * (place + 1) for place, value in enumerate(found) if value >= accuracy), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True, metavar="FILE", help="features are kept here, and taken from here")
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
