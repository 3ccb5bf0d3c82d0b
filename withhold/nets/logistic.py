"""Multinomial logistic regression, the linear classifier of the probes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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
