"""Multinomial logistic regression, the classifier of the linear probe."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
UNCHOSEN = 0.1
"""The strength if no class has enough samples for a held-out part."""
HELD_OUT = 0.2


class Linear(NamedTuple):
    """A linear classifier: weight [k, d], bias [k], as in `nn.Linear`.

    With ten classes, computing the loss and its gradient takes half the time that it takes with weights [d, k].
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Features [n, d] -> scores [n, k]."""
        return F.linear(x, self.weight, self.bias)


def moments(bank: Tensor, alike: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [d] of features [n, d]; features that are constant up to rounding have deviation 1.

    Args:
        alike: use one deviation, that of all features together. From few samples, the deviation of a feature that is
            rarely above zero is underestimated, and dividing by it would make that feature the largest.
    """
    deviation, mean = torch.std_mean(bank, dim=0, correction=0)
    if alike:
        deviation = deviation.square().mean().sqrt().expand_as(mean)
    return mean, torch.where(deviation > 1e-6 * mean.abs(), deviation, 1.0)


def fit(
    x: Tensor,
    labels: Tensor,
    classes: int,
    strength: float,
    start: Linear | None = None,
    weights: Tensor | None = None,
) -> Linear:
    """Minimise mean cross-entropy + strength / 2 * |weight|^2 by L-BFGS on all samples at once.

    The bias is not penalised. In scikit-learn's terms, C = 1 / (n * strength). It stops after 100 steps: with
    correlated features and a weak penalty convergence is slow, and further steps change few predictions.

    Args:
        x: float [n, d], standardised.
        labels: int64 [n].
        start: the initial solution, such as that for a neighbouring strength; zero if None.
        weights: class weights [k]; equal if None.
    """
    start = start or Linear(x.new_zeros(classes, x.shape[1]), x.new_zeros(classes))
    with torch.enable_grad():
        found = Linear(*(part.clone().requires_grad_() for part in start))
        solver = torch.optim.LBFGS(
            list(found), max_iter=100, tolerance_grad=1e-5, tolerance_change=1e-9, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            solver.zero_grad()
            loss = F.cross_entropy(found(x), labels, weights) + strength / 2 * found.weight.square().sum()
            loss.backward()
            return loss

        solver.step(objective)
    return Linear(*(part.detach() for part in found))


def probe(
    x: Tensor, labels: Tensor, classes: int, rng: torch.Generator, weights: Tensor | None = None
) -> tuple[Linear, float]:
    """Fit standardised features x [n, d], with the strength chosen on a held-out part; return the fit and the strength.

    Args:
        rng: draws the held-out part; on the CPU.
        weights: class weights [k]; equal if None.
    """
    kept, held = holdout(labels, HELD_OUT, rng)
    if not len(held):
        return fit(x, labels, classes, UNCHOSEN, weights=weights), UNCHOSEN
    order, cut = torch.cat([kept, held]), len(kept)  # a part is then a slice, not another copy
    x, labels = x[order], labels[order]
    chosen, strength = choose(x[:cut], labels[:cut], x[cut:], labels[cut:], classes, weights)
    return fit(x, labels, classes, strength, chosen, weights), strength


def head(
    features: Tensor, labels: Tensor, classes: int, weights: Tensor | None = None, strength: float | None = None
) -> tuple[Linear, float]:
    """Fit raw features [n, d]: the fit includes their standardisation. Returns the fit and the strength.

    All features are scaled by one deviation; with few labels, rarely active features would otherwise dominate.

    Args:
        weights: class weights [k]; equal if None.
        strength: None chooses it as `probe` does, always with the same held-out part.
    """
    mean, deviation = moments(features, alike=True)
    x = (features - mean) / deviation
    if strength is None:
        found, strength = probe(x, labels, classes, torch.Generator().manual_seed(0), weights)
    else:
        found = fit(x, labels, classes, strength, weights=weights)
    weight = found.weight / deviation
    return Linear(weight, found.bias - weight @ mean), strength


def choose(
    x: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor, classes: int, weights: Tensor | None = None
) -> tuple[Linear, float]:
    """The fit to `x` [n, d] with the lowest cross-entropy on `held` [m, d], and its strength.

    Strengths are tried from strong to weak, each starting from the previous fit. The search stops as soon as the
    held-out loss no longer falls.
    """
    last, best, best_loss = None, STRENGTHS[0], float("inf")
    for strength in STRENGTHS:
        found = fit(x, labels, classes, strength, last, weights)
        loss = F.cross_entropy(found(held), held_labels, weights).item()
        if loss >= best_loss:
            break
        last, best, best_loss = found, strength, loss
    assert last is not None  # the first loss is below infinity
    return last, best


def holdout(labels: Tensor, fraction: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split labels [n] into kept and held-out indices: `fraction` of each class, at least one sample but never all."""
    kept, held = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        members = members[torch.randperm(len(members), generator=rng).to(labels.device)]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(members[:count])
        kept.append(members[count:])
    return torch.cat(kept), torch.cat(held)
