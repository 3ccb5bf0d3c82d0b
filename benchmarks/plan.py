"""Gain and quality of the plans of `withhold plan` on PACS, of random plans, and of ImageNet features for all targets.

    python benchmarks/plan.py                        15 minutes
    python benchmarks/plan.py --minutes 0.3 --try    a quick trial on 5 % of the images; nothing is recorded

Gain is the share of held-out images on which a transfer has a smaller error than a network trained for the target on
the same few images only. Quality is the same, compared with a read-out of the target's own network. Both are means over
the targets. WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from record import RESULTS, cpu_minutes, record

import withhold
from withhold import data, nets
from withhold.data import Samples, Target
from withhold.planning import transfers
from withhold.planning.tasks import RANDOM, bank
from withhold.planning.walk import SCRATCH, Walk, beats, best

STYLES = ("art_painting", "cartoon", "photo", "sketch")
SIZE, TRAINED_AT = 32, 128
"""Image size of the tasks' networks, and of the pretrained one."""
BUDGETS, ORDER, DRAWS = (1, 2, 3, 4, 5), 2, 1000


def paths(root: Path) -> data.Several:
    return data.Several(root / "pacs" / f"{style}.parquet" for style in STYLES)


def pacs(root: Path) -> Samples:
    """Photographs, paintings, cartoons and sketches, with the class as label and the style as a column."""
    samples = data.load(paths(root), size=SIZE, channels=3, parts=("label", "domain"))
    samples.give("targets", {"style": Target(samples.parts["domain"].values, STYLES)})
    return samples


def mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean gain and quality of transfers, one per target."""
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in ("gain", "quality")}


def at_random(rows: list[dict[str, Any]], budget: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The rows of a random plan: random sources, and for each target a random transfer from some of them."""
    tasks = sorted({source for row in rows for source in row["sources"]} - {RANDOM})
    learned = set(rng.choice(tasks, min(budget, len(tasks)), replace=False).tolist())
    able = [row for row in rows if learned >= set(row["sources"])]
    drawn = []
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in able if row["target"] == target]
        drawn.append(own[rng.integers(len(own))])
    return drawn


def pretrained(walk: Walk, root: Path) -> list[dict[str, Any]]:
    """Transfer to each target from EfficientNet-Lite0 pretrained on ImageNet, a larger network with more data."""
    network = withhold.load("efficientnet-lite0", size=TRAINED_AT, channels=3).encoder
    large = data.load(paths(root), size=TRAINED_AT, channels=3, parts=(), whole=False)
    maps = [nets.rows(network, network.maps, large.select(part.sources), "cpu") for part in walk.parts]
    rows = []
    for target in walk.state["targets"]:
        truth = walk.truth(target)
        errors = transfers.transfer([(maps[0], maps[1])], *truth, walk.state["steps"], walk.asked["seed"]).numpy()
        own, scratch = (walk.errors(target, truth, sources) for sources in ((target,), SCRATCH))
        rows.append({"target": target, "gain": beats(errors, scratch), "quality": beats(errors, own)})
    return rows


def measure(root: Path, minutes: float, seed: int, every: int) -> dict[str, Any]:
    """The result on PACS, or on one in `every` images of it."""
    samples, rng = pacs(root), np.random.default_rng(seed)
    samples = samples.select(range(0, len(samples), every))
    tasks = bank(samples, None)
    asked = {"tasks": list(tasks), "minutes": minutes, "encoder": "convnet", "size": SIZE, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(Path(folder), samples, tasks, asked, "convnet", None)
        found = walk.go([name for name, task in tasks.items() if task.asked], 1, ORDER)
        of_imagenet = pretrained(walk, root)
    rows = found["rows"]
    wins = [row for row in rows if len(row["sources"]) == 1]
    budgets = []
    for budget in BUDGETS:
        plan = best(rows, budget)
        quality = mean(plan)["quality"]
        drawn = [mean(at_random(rows, budget, rng)) for _ in range(DRAWS)]
        budgets.append({
            "budget": budget, "plan": {row["target"]: row["sources"] for row in plan}, **mean(plan),
            "random": {name: round(float(np.mean([one[name] for one in drawn])), 4) for name in drawn[0]},
            "random plans as good": float(np.mean([one["quality"] >= quality for one in drawn])),
        })  # fmt: skip
    return {
        "data": "PACS", "images": found["items"], "steps": found["steps"], "minutes": minutes, "seed": seed,
        "budgets": budgets, "own networks": mean([row for row in wins if row["sources"] == [row["target"]]]),
        "fresh weights": mean([row for row in wins if row["sources"] == [RANDOM]]),
        "imagenet": mean(of_imagenet), "imagenet by target": of_imagenet,
        "general": {task: mean([row for row in wins if row["sources"] == [task]]) for task in tasks},
        "rows": [row | {name: round(row[name], 4) for name in ("affinity", "gain", "quality")} for row in rows],
    }  # fmt: skip


def draw(found: dict[str, Any], path: Path) -> None:
    """Plot gain and quality against the budget."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name in zip(panels, ("gain", "quality"), strict=True):
        counts = [row["budget"] for row in found["budgets"]]
        axes.plot(counts, [row[name] for row in found["budgets"]], "o-", color="black", label="plan")
        axes.plot(counts, [row["random"][name] for row in found["budgets"]], "o-", color="grey", label="random plans")
        for control, title, style in (("imagenet", "ImageNet", "--"), ("fresh weights", "random weights", ":")):
            axes.axhline(found[control][name], linestyle=style, color="tab:blue", label=f"{title}, for all targets")
        axes.set(title=name, xlabel="trained tasks", xticks=counts)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="minutes of training (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split, weights and views (default: %(default)s)"
    )
    parser.add_argument("--try", dest="tried", action="store_true", help="record nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(Path(os.environ["WITHHOLD_DATA"]), options.minutes, options.seed, 20 if options.tried else 1)
    for row in found["budgets"]:
        print(row)
    print({name: found[name] for name in ("own networks", "imagenet", "general", "steps")})
    print(f"{cpu_minutes():.1f} CPU minutes")
    if not options.tried:
        print(record("plan", found | {"cpu_minutes": round(cpu_minutes(), 1)}))
        draw(found, RESULTS / "plan.svg")


if __name__ == "__main__":
    main()
