"""The linear probe: logistic regression on standardised features."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.evaluation.task import Task
from withhold.nets.logistic import Linear, fit

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
HELD_OUT = 0.2


def measure(task: Task) -> list[dict]:
    """The strength that a held-out part of the training items likes best; then a fit on all of them.

    Classes with one training item are left out.
    """
    task.require_known()
    task = task.with_pairs("a linear probe needs two, one to choose its strength by")
    kept, held = holdout(task.labels, HELD_OUT, torch.Generator().manual_seed(task.seed))
    mean, deviation = task.moments
    order = torch.cat([kept, held])  # a part is then a slice, not another copy
    x, labels = task.bank[order].sub_(mean).div_(deviation), task.labels[order]
    cut = len(kept)
    chosen, strength = choose(x[:cut], labels[:cut], x[cut:], labels[cut:], task.classes)
    classifier = fit(x, labels, task.classes, strength, start=chosen)
    found = classifier((task.queries - mean).div_(deviation)).argmax(1)
    row = {"metric": "accuracy", "value": task.accuracy(found), "strength": strength}
    return [row | {"n_train": len(task.train), "n_test": len(task.test)}]


def choose(x: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor, classes: int) -> tuple[Linear, float]:
    """The fit to `x` [n, d] whose cross-entropy on `held` [m, d] is least, and its strength.

    From strong to weak, each fit starts from the last; it ends when the held-out loss, which falls and then rises, has
    risen.
    """
    last, best, best_loss = None, STRENGTHS[0], float("inf")
    for strength in STRENGTHS:
        found = fit(x, labels, classes, strength, start=last)
        loss = F.cross_entropy(found(held), held_labels).item()
        if loss >= best_loss:
            break
        last, best, best_loss = found, strength, loss
    assert last is not None  # the first loss is below infinity
    return last, best


def holdout(labels: Tensor, fraction: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of labels [n], kept and held out: `fraction` of each class is held, at least one item and never all."""
    kept, held = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        members = members[torch.randperm(len(members), generator=rng).to(labels.device)]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(members[:count])
        kept.append(members[count:])
    return torch.cat(kept), torch.cat(held)
