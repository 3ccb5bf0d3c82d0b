"""The monitor: what can be said of a representation, and of a training run, without labels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from withhold.console import counted
from withhold.training.journal import Row

FEW = 20
"""Steps after which a run can be judged."""


def rank(features: Tensor) -> float:
    """The effective rank of features [n, d]: exp of the entropy of their normalised singular values.

    RankMe, Garrido et al., ICML 2023, equation 1, on centred features, so that a constant feature counts for nothing.
    """
    spectrum = torch.linalg.svdvals(features.double() - features.double().mean(0))
    if spectrum.sum() < 1e-9:
        return 0.0
    shares = spectrum / spectrum.sum()
    return math.exp(-(shares * (shares + 1e-12).log()).sum().item())


def spread(features: Tensor) -> float:
    """The mean deviation of L2-normalised features [n, d], a dimension, times sqrt(d): 1 is spread out, 0 collapsed."""
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    return (unit.std(0, correction=0).mean() * math.sqrt(unit.shape[1])).item()


def findings(rows: Sequence[Row], taught: bool = False) -> list[str]:
    """What is wrong with a run, from its journal: one sentence each, with the remedy; none when all is well.

    Args:
        taught: whether it was told labels: what tells two classes apart needs one dimension.
    """
    if not rows:
        return []
    found, last = [], rows[-1]
    steps, judged = last["step"], last["step"] >= FEW
    for player in {name.removesuffix("loss") for name in last if name.endswith("loss")}:
        loss = last[player + "loss"]
        who = f"The loss of the {player.removesuffix('/')}" if player else "The loss"
        if not math.isfinite(loss):
            found.append(
                f"{who} is not finite at step {steps:.0f}: lower --lr, or use --precision 32-true; "
                "the last good checkpoint is kept."
            )
        trivial = last.get(player + "trivial")
        if trivial is not None and not any(row.get(player + part) for row in rows for part in ("loss", "trivial")):
            found.append(
                f"{who} is 0, and knowing nothing costs 0 as well: a batch holds nothing to tell apart; "
                "enlarge --batch-size, and leave --accumulate out."
            )
        if trivial is not None and judged and loss > 0.98 * trivial > 0:
            remedy = (
                "it has not begun to learn; raise --lr or train longer, and look at `withhold views` for what it sees."
            )
            if loss > 1.5 * trivial and loss >= rows[0].get(player + "loss", 0):  # else it is on its way
                remedy = "it has diverged; lower --lr."
            found.append(f"{who} is {loss:.3g}, and knowing nothing costs {trivial:.3g}: {remedy}")
    if not found and not judged:
        return [f"{counted(steps, 'step')} cannot be judged: train longer, with --epochs or --minutes."]
    looks = [row for row in rows if "rank" in row]
    collapsed = []
    if looks and ((looks[-1]["rank"] < 2 and not taught) or looks[-1]["spread"] < 0.05):
        collapsed.append(
            f"representation has collapsed (rank {looks[-1]['rank']:.1f}, spread {looks[-1]['spread']:.2f})"
        )
    if judged and last.get("directions", 2) < 2:
        collapsed.append(f"embeddings have collapsed onto a line ({last['directions']:.1f} directions)")
    found += [
        f"The {what}: lower --lr, enlarge --batch-size, or choose a method with negatives or a variance term "
        "(simclr, lejepa)."
        for what in collapsed
    ]
    waits = sorted(row["waiting"] for row in rows[1:] if "waiting" in row)
    if waits and (usual := waits[len(waits) // 2]) > 0.2:
        found.append(
            f"The device waits for data {usual:.0%} of the time: put the cache on a faster disk, or make "
            "items smaller, as --size does with images."
        )
    return found
