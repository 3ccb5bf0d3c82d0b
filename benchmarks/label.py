"""Test accuracy by number of labels for each strategy of `withhold label`, compared with random labels.

PACS in all its styles, with a frozen EfficientNet-Lite0 with pretrained weights, and the test texts of AG News, with
word vectors trained on its training texts; a linear probe on top. Each draw has its own pool, the same for all
strategies. Strategies that need a classifier start with ten random labels, the same as those of "random", or with ten
typical ones ("after typical"). "default" is what `withhold label` does without a strategy. Where atlas cannot choose,
the labels are random. WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pyarrow import Table, concat_tables, parquet
from record import RESULTS, cpu_minutes, record
from torch import Tensor

import withhold
from withhold.errors import UsageError
from withhold.labelling import STRATEGIES, rank
from withhold.labelling.guesses import guesses, standardised

COUNTS = (10, 20, 40, 80, 160, 320)
SEEDS = range(5)
POOL = 1000
"""Number of items that may be labelled, drawn with the seed; the others are the test set."""
PAIRS = (
    {"default": (None, None)}
    | {name: ("random" if strategy.needs else name, name) for name, strategy in STRATEGIES.items()}
    | {f"{name} after typical": ("typical", name) for name in ("margin", "badge")}
)
"""The strategy for the first labels and the one for all others; None is the default of `withhold label`."""
STYLES = ("art_painting", "cartoon", "photo", "sketch")
Features = tuple[Tensor, Tensor]
"""Features float32 [n, d], and classes int64 [n]."""


def pacs(root: Path) -> Features:
    """PACS: seven classes in four styles."""
    network = withhold.load("efficientnet-lite0")
    table = concat_tables([network.embed(str(root / "pacs" / f"{style}.parquet")) for style in STYLES])
    return _numbers(table, table["label"])


def ag_news(root: Path) -> Features:
    """AG News: the test texts in four topics, embedded with word vectors trained on the training texts."""
    train, test = (parquet.read_table(root / "text" / "ag_news" / f"{part}.parquet") for part in ("train", "test"))
    with tempfile.TemporaryDirectory() as folder:
        run = withhold.train("skipgram", train["text"].to_pylist(), out=f"{folder}/run", epochs=5, seed=0)
        return _numbers(run.embed(test["text"].to_pylist()), test["label"])


def _numbers(table: Table, labels: Any) -> Features:
    features = torch.tensor(np.stack(table["embedding"].to_numpy()))
    return features, torch.from_numpy(np.unique(labels.to_numpy(), return_inverse=True)[1])


def curve(known: Features, first: str | None, then: str | None, seed: int) -> list[float]:
    """The test accuracy at each number of labels. The pool is the first part of the order that the seed draws."""
    order = torch.randperm(len(known[1]), generator=torch.Generator().manual_seed(seed))
    features, truth = (part[order] for part in known)
    x, labels, found, said = standardised(features), torch.full_like(truth, -1), [], None
    for have, wanted in itertools.pairwise((0, *COUNTS)):
        pool = features[:POOL], wanted - have, labels[:POOL]
        before = None if said is None else said[:POOL]
        try:
            chosen = rank(*pool, probabilities=before, strategy=then if have else first, seed=seed).items
        except UsageError:  # atlas, if none or all of the labelled items are misclassified
            chosen = rank(*pool, strategy="random", seed=seed).items
        labels[chosen] = truth[chosen]
        said = guesses(x, labels, torch.Generator().manual_seed(seed))
        found.append((said.argmax(1) == truth)[POOL:].float().mean().item())
    return found


def measure(known: Features) -> list[dict[str, Any]]:
    """A row per strategy: the accuracies of each draw, and the area under the curve over the log of the counts."""
    curves: dict[str, np.ndarray] = {}
    for name, pair in PAIRS.items():
        curves[name] = np.array([curve(known, *pair, seed) for seed in SEEDS])
        print(f"{name:20}", *(f"{value:6.1%}" for value in curves[name].mean(0)), flush=True)
    area = {name: np.trapezoid(found, axis=1) / (len(COUNTS) - 1) for name, found in curves.items()}
    rows = []
    for name, found in curves.items():
        ahead = area[name] - area["random"]  # paired: the same pool in each draw
        rows.append({
            "strategy": name, "accuracy": found.round(4).tolist(), "area": round(area[name].mean(), 4),
            "ahead": round(ahead.mean(), 4), "deviation": round(ahead.std(ddof=1), 4),
        })  # fmt: skip
    return rows


def draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Plot the gain of each strategy over random labels, in points, by number of labels; mean over the draws."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (name, rows) in zip(panels, found.items(), strict=True):
        level = next(np.array(row["accuracy"]) for row in rows if row["strategy"] == "random")
        for row in rows:
            ahead = 100 * (np.array(row["accuracy"]) - level).mean(0)
            wide = row["strategy"] == "default"
            colour = "black" if wide else "grey" if row["strategy"] == "random" else None
            axes.plot(COUNTS, ahead, label=row["strategy"], linewidth=3 if wide else 1.5, color=colour)
        axes.set(title=name, xscale="log", xticks=COUNTS, xticklabels=COUNTS, xlabel="labels")
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("points ahead of random")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--features", required=True, metavar="FOLDER", help="read the features from this folder, or write them there"
    )
    options = parser.parse_args()
    root, found = Path(os.environ["WITHHOLD_DATA"]), {}
    Path(options.features).mkdir(parents=True, exist_ok=True)
    for name, features in (("PACS", pacs), ("AG News", ag_news)):
        kept = Path(options.features) / f"{name}.pt"
        if not kept.is_file():
            torch.save(features(root), kept)
        print(name)
        found[name] = measure(torch.load(kept))
        about = {"counts": COUNTS, "draws": len(SEEDS), "pool": POOL, "cpu_minutes": round(cpu_minutes(), 1)}
        print(record("label", about | {"rows": found}))
    draw(found, RESULTS / "label.svg")


if __name__ == "__main__":
    main()
