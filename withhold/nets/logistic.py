"""Multinomial logistic regression, the linear classifier of the probes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
UNCHOSEN = 0.1
"""The strength where no class has an item to choose it by."""
HELD_OUT = 0.2


class Linear(NamedTuple):
    """A linear classifier: weight [d, k], bias [k]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Features [n, d] -> scores [n, k]."""
        return torch.addmm(self.bias, x, self.weight)


def moments(bank: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [d] of features [n, d]; a feature that does not vary beyond rounding has deviation one."""
    deviation, mean = torch.std_mean(bank, dim=0, correction=0)
    return mean, torch.where(deviation > 1e-6 * mean.abs(), deviation, 1.0)


def fit(x: Tensor, labels: Tensor, classes: int, strength: float, start: Linear | None = None) -> Linear:
    """Minimise mean cross-entropy + strength / 2 * |weight|^2 by L-BFGS over all items at once.

    The bias is free. In scikit-learn's terms, C = 1 / (n * strength). After 100 steps it ends anyway: correlated
    features with hardly a penalty have a long way to go, which changes few answers.

    Args:
        x: float [n, d], standardised.
        labels: int64 [n].
        start: where to begin, such as the solution for a neighbouring strength; zero if None.
    """
    start = start or Linear(x.new_zeros(x.shape[1], classes), x.new_zeros(classes))
    with torch.enable_grad():
        found = Linear(*(part.clone().requires_grad_() for part in start))
        solver = torch.optim.LBFGS(
            list(found), max_iter=100, tolerance_grad=1e-5, tolerance_change=1e-9, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            solver.zero_grad()
            loss = F.cross_entropy(found(x), labels) + strength / 2 * found.weight.square().sum()
            loss.backward()
            return loss

        solver.step(objective)
    return Linear(*(part.detach() for part in found))


def probe(x: Tensor, labels: Tensor, classes: int, rng: torch.Generator) -> tuple[Linear, float]:
    """The fit to standardised features x [n, d] of the strength that a held-out part likes best, and that strength.

    Args:
        rng: draws the part; on the CPU.
    """
    kept, held = holdout(labels, HELD_OUT, rng)
    if not len(held):
        return fit(x, labels, classes, UNCHOSEN), UNCHOSEN
    order, cut = torch.cat([kept, held]), len(kept)  # a part is then a slice, not another copy
    x, labels = x[order], labels[order]
    chosen, strength = choose(x[:cut], labels[:cut], x[cut:], labels[cut:], classes)
    return fit(x, labels, classes, strength, start=chosen), strength


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
