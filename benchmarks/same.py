"""Check whether a code change alters training: 50 steps of each method on tiny data, compared bit for bit.

    python benchmarks/same.py before.json [METHOD ...]                  write losses and weights, of all by default
    python benchmarks/same.py after.json [METHOD ...] --than before.json, and list the differences from an earlier file

Each method is trained with two seeds and one thread. Weights are compared by value, so their names may change.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from withhold.contract import Trial
from withhold.methods import find, names
from withhold.training import Plan, fit


def learned(name: str, seed: int) -> dict[str, Any]:
    """The losses of 50 steps, and a digest of the final weights."""
    torch.manual_seed(seed)
    trial = Trial(find(name))
    method = trial.make()
    rows = fit(method, trial.feed(method), Plan(steps=50, seed=seed)).rows
    digest = hashlib.sha256()
    for value in method.state_dict().values():
        digest.update(torch.as_tensor(value).detach().contiguous().numpy().tobytes())
    losses = [[value for term, value in row.items() if term.endswith("loss")] for row in rows]
    return {"losses": losses, "weights": digest.hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("methods", nargs="*", help="method names (default: all)")
    parser.add_argument("--than", type=Path, metavar="FILE", help="file written by an earlier version")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    found = {}
    for name in options.methods or names():
        for seed in (0, 1):
            found[f"{name}, seed {seed}"] = learned(name, seed)
    options.out.write_text(json.dumps(found, indent=1))
    if options.than is not None:
        before = json.loads(options.than.read_text())
        shared = [key for key in found if key in before]
        for key in (key for key in shared if found[key] != before[key]):
            pairs = zip(before[key]["losses"], found[key]["losses"], strict=False)
            step = next((number for number, (old, new) in enumerate(pairs) if old != new), None)
            print(f"{key}: " + (f"the losses differ from step {step} on" if step is not None else "the weights differ"))
        same = sum(found[key] == before[key] for key in shared)
        print(f"{same} of {len(shared)} are bitwise identical")


if __name__ == "__main__":
    main()
