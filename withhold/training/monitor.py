"""The monitor: what can be said of a representation, and of a training run, without labels."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from withhold import methods
from withhold.console import counted
from withhold.errors import UsageError
from withhold.training.journal import Row

FEW = 20
"""Steps after which a run can be judged."""
PATIENCE = 30
"""Seconds of waiting for data that are worth a remedy."""
LITTLE = 0.05
"""The share of the loss of knowing nothing that a method has to be below it, to have learned something."""


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


def gain(row: Row, player: str = "") -> float | None:
    """How far the loss of a row is below that of knowing nothing, as a share of this; None where that is not known.

    Args:
        player: of a game, as its columns begin: "generator/".
    """
    trivial = row.get(player + "trivial")
    return 1 - row[player + "loss"] / trivial if trivial else None


def findings(
    rows: Sequence[Row],
    *,
    method: str = "",
    takes: Collection[str] = (),
    taught: bool = False,
    began: Row | None = None,
    frozen: bool = False,
) -> list[str]:
    """What is wrong with a run, from its journal: one sentence each, with the remedy; none when all is well.

    Args:
        method: what was trained, by its name or file.
        takes: those of the options "precision", "accumulate", "batch_size" and "size" that are a remedy, as this run
            has them.
        taught: whether it was told labels: what tells two classes apart needs one dimension.
        began: what was seen of the encoder before this training, where it had learned already.
        frozen: whether it is still that, and only a head on it has learned, which was fitted before the first step.
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
                f"{who} is not finite at step {steps:.0f}: lower --lr"
                f"{', or use --precision 32-true' if 'precision' in takes else ''}; the last good checkpoint is kept."
            )
        trivial = last.get(player + "trivial")
        if trivial is not None and not any(row.get(player + part) for row in rows for part in ("loss", "trivial")):
            found.append(
                f"{who} is 0, and knowing nothing costs 0 as well: a batch holds nothing to tell apart; "
                f"enlarge --batch-size{', and leave --accumulate out' if 'accumulate' in takes else ''}."
            )
        below = gain(last, player)
        if below is not None and judged and below < LITTLE:
            more = "enlarge --batch-size, " if "batch_size" in takes and _compares(method) else ""
            remedy = f"{more}raise --lr or train longer, and look at `withhold views` for what it sees."
            if below < -0.5 and loss >= rows[0].get(player + "loss", 0):  # else it is on its way
                said = f"it has diverged; {more}lower --lr."
            elif below < 0.02:
                said = f"it has not begun to learn; {remedy}"
            else:
                said = f"{below:.0%} less is little; {remedy}"
            found.append(f"{who} is {loss:.3g}, and knowing nothing costs {trivial:.3g}: {said}")
    if not found and not judged and not frozen:
        return [f"{counted(steps, 'step')} cannot be judged: train longer, with --epochs or --minutes."]
    used = [row["counted"] for row in rows if "counted" in row]
    if used and judged and (share := sum(used) / len(used)) < LITTLE:
        found.append(
            f"What has no labels counted with {share:.1%} of its weight, so this was a training on the labels alone: "
            "train longer, go on from an encoder that has learned (--encoder RUN), or set a lower confidence."
        )
    looks = [row for row in rows if "rank" in row]
    collapsed = []
    if looks and ((looks[-1]["rank"] < 2 and not taught) or looks[-1]["spread"] < 0.05):
        collapsed.append(
            f"representation has collapsed (rank {looks[-1]['rank']:.1f}, spread {looks[-1]['spread']:.2f})"
        )
    if judged and last.get("directions", 2) < 2:
        collapsed.append(f"embeddings have collapsed onto a line ({last['directions']:.1f} directions)")
    found += [f"The {what}: lower --lr, enlarge --batch-size{_or_choose(method)}." for what in collapsed]
    began = None if frozen else began
    if looks and began and "knn" in looks[-1] and looks[-1]["knn"] <= began["knn"]:
        found.append(
            f"k-NN accuracy on a sample was {began['knn']:.1%} before this training and is {looks[-1]['knn']:.1%}: "
            "what it went on from is enough, frozen as it is; or lower --encoder-lr."
        )
    elif looks and began and "knn" not in began and not taught and looks[-1]["rank"] < began["rank"] / 2:
        found.append(
            f"The effective rank of the features fell from {began['rank']:.0f} to {looks[-1]['rank']:.0f} in this "
            "training: measure it beside what it went on from (withhold evaluate), or lower --encoder-lr."
        )
    waits = sorted(row["waiting"] for row in rows[1:] if "waiting" in row)
    if waits and (usual := waits[len(waits) // 2]) > 0.2 and usual * last["seconds"] > PATIENCE:
        found.append(
            f"The device waits for data {usual:.0%} of the time: put the cache on a faster disk"
            f"{', or lower --size' if 'size' in takes else ''}."
        )
    return found


def _or_choose(method: str) -> str:
    """The remedy against a collapse that is another method: one for the same kinds of data that compares items."""
    try:
        own = _kinds(methods.find(method))
    except UsageError:  # its file has gone
        return ""
    known = map(methods.find, methods.names())
    others = [cls.name for cls in known if cls.compares and cls.name != method and _kinds(cls) <= own]
    return f", or choose a method whose loss compares items ({', '.join(others)})" if others else ""


def _compares(method: str) -> bool:
    """Whether the loss of a method compares items; no, where its file has gone."""
    try:
        return methods.find(method).compares
    except UsageError:
        return False


def _kinds(cls: type[methods.Method]) -> set[str]:
    """The kinds of data of a method's streams, those that go together joined."""
    return {need.kind(one) for need in cls.needs.values() for one in need.kinds}
