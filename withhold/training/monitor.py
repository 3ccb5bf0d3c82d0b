"""The monitor: label-free diagnostics of a representation and of a training run."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from withhold import methods
from withhold.console import counted
from withhold.training.journal import Row

FEW = 20
"""Number of steps after which a run can be judged."""
PATIENCE = 30
"""Seconds of waiting for data above which a remedy is suggested."""
LITTLE = 0.05
"""How far the loss must be below the trivial loss, as a share of it."""


def rank(features: Tensor) -> float:
    """The effective rank of features [n, d]: exp of the entropy of their normalised singular values.

    RankMe, Garrido et al., ICML 2023, equation 1, on centred features, so that constant features do not count.
    """
    spectrum = torch.linalg.svdvals(features.double() - features.double().mean(0))
    if spectrum.sum() < 1e-9:
        return 0.0
    shares = spectrum / spectrum.sum()
    return math.exp(-(shares * (shares + 1e-12).log()).sum().item())


def spread(features: Tensor) -> float:
    """The mean standard deviation of L2-normalised features [n, d], times sqrt(d): 1 is spread out, 0 is collapsed."""
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    return (unit.std(0, correction=0).mean() * math.sqrt(unit.shape[1])).item()


def gain(row: Row, player: str = "") -> float | None:
    """How far the loss of a row is below the trivial loss, as a share of it; None if the trivial loss is unknown.

    The trivial loss is that of the best predictor that ignores its input.

    Args:
        player: the prefix of a player's columns in an adversarial method, e.g. "generator/".
    """
    trivial = row.get(player + "trivial")
    return 1 - row[player + "loss"] / trivial if trivial else None


def findings(
    rows: Sequence[Row],
    *,
    cls: type[methods.Method] | None = None,
    takes: Collection[str] = (),
    taught: bool = False,
    began: Row | None = None,
    frozen: bool = False,
) -> list[str]:
    """Return the problems that a run's journal shows, each with its remedy; empty if there are none.

    Args:
        cls: the trained method's class, for advice on other methods.
        takes: which of the options "precision", "accumulate", "batch_size" and "size" can be a remedy for this run.
        taught: whether the run was given labels; a classifier of two classes needs only one dimension.
        began: the monitor's numbers of the encoder before this training, if it was pretrained.
        frozen: whether the encoder is unchanged and only a head was trained, which was fitted before the first step.
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
                f"{who} is not finite at step {steps:.0f}. Lower --lr"
                f"{', or use --precision 32-true' if 'precision' in takes else ''}. The last good checkpoint is kept."
            )
        trivial = last.get(player + "trivial")
        if trivial is not None and not any(row.get(player + part) for row in rows for part in ("loss", "trivial")):
            found.append(
                f"{who} is 0 for any prediction, because a batch has nothing to compare. "
                f"Increase --batch-size{' and remove --accumulate' if 'accumulate' in takes else ''}."
            )
        below = gain(last, player)
        if below is not None and judged and below < LITTLE:
            more = "increase --batch-size, " if "batch_size" in takes and cls is not None and cls.compares else ""
            remedy = f"{more}raise --lr or train longer, and check the inputs with `withhold views`."
            if below < -0.5 and loss >= rows[0].get(player + "loss", 0):  # a falling loss may still recover
                said, advice = "The training has diverged", f"{more}lower --lr."
            elif below < 0.02:
                said, advice = "The method has learned nothing yet", remedy
            else:
                said, advice = f"The loss is only {below:.0%} lower", remedy
            found.append(f"{who} is {loss:.3g}; the trivial baseline is {trivial:.3g}. {said}: {advice}")
    if not found and not judged and not frozen:
        return [f"{counted(steps, 'step')} are too few to judge the run. Train longer, with --epochs or --minutes."]
    used = [row["counted"] for row in rows if "counted" in row]
    if used and judged and (share := sum(used) / len(used)) < LITTLE:
        found.append(
            f"Unlabelled samples counted with only {share:.1%} of their weight, so the run trained on the labels "
            "alone. Train longer, start from a pretrained encoder (--encoder RUN), or set a lower confidence."
        )
    looks = [row for row in rows if "rank" in row]
    collapsed = []
    if looks and ((looks[-1]["rank"] < 2 and not taught) or looks[-1]["spread"] < 0.05):
        collapsed.append(
            f"representation has collapsed (rank {looks[-1]['rank']:.1f}, spread {looks[-1]['spread']:.2f})"
        )
    if judged and last.get("directions", 2) < 2:
        collapsed.append(f"embeddings have collapsed onto a line ({last['directions']:.1f} directions)")
    found += [f"The {what}. Lower --lr, increase --batch-size{_or_choose(cls)}." for what in collapsed]
    began = None if frozen else began
    if looks and began and "knn" in looks[-1] and looks[-1]["knn"] <= began["knn"]:
        found.append(
            f"k-NN accuracy on a sample was {began['knn']:.1%} before this training and is {looks[-1]['knn']:.1%} now. "
            "Use the encoder that this training started from, or lower --encoder-lr."
        )
    elif looks and began and "knn" not in began and not taught and looks[-1]["rank"] < began["rank"] / 2:
        found.append(
            f"The effective rank of the features fell from {began['rank']:.0f} to {looks[-1]['rank']:.0f} in this "
            "training. Compare it with the encoder that training started from (withhold evaluate), or lower "
            "--encoder-lr."
        )
    waits = sorted(row["waiting"] for row in rows[1:] if "waiting" in row)
    if waits and (usual := waits[len(waits) // 2]) > 0.2 and usual * last["seconds"] > PATIENCE:
        found.append(
            f"The device waits for data {usual:.0%} of the time. Put the cache on a faster disk"
            f"{', or lower --size' if 'size' in takes else ''}."
        )
    return found


def _or_choose(cls: type[methods.Method] | None) -> str:
    """The advice against collapse to choose another method: one for the same kinds of data that compares samples."""
    if cls is None:
        return ""
    known = map(methods.find, methods.names())
    others = [one.name for one in known if one.compares and one is not cls and _kinds(one) <= _kinds(cls)]
    return f", or choose a method whose loss compares samples ({', '.join(others)})" if others else ""


def _kinds(cls: type[methods.Method]) -> set[str]:
    """The kinds of data of a method's streams; kinds that belong together are joined."""
    return {need.kind(one) for need in cls.needs.values() for one in need.kinds}
