"""The base class of multi-task methods: a head for each task, and the balance of their costs."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from withhold import losses
from withhold.methods.base import Method
from withhold.nets import Encoder

Balance = Literal["fixed", "uncertainty", "gradnorm", "pcgrad"]

FARTHEST, LEAST = 5.0, 1e-3
"""Maximum absolute value of a log variance, and the minimum weight before weights are scaled to the sum 1."""


class Balanced(Method):
    """An encoder with a linear head for each column.

    Args:
        targets: the class names of each column, None for numbers.
        balance: how the tasks are weighted: "fixed", or as in Kendall et al. (CVPR 2018, "uncertainty"), Chen et al.
            (ICML 2018, "gradnorm") or Yu et al. (NeurIPS 2020, "pcgrad").
        alpha: for "gradnorm", how much more weight tasks get that have learned less than the others.
    """

    def __init__(
        self, encoder: Encoder, targets: Mapping[str, Sequence[str] | None], balance: Balance, alpha: float
    ):  # fmt: skip
        super().__init__(encoder)
        self.targets, self.balance, self.alpha = dict(targets), balance, alpha
        count = len(self.targets)
        self.heads = nn.ModuleList(nn.Linear(encoder.dim, len(classes or "1")) for classes in self.targets.values())
        if balance in ("uncertainty", "gradnorm"):
            self.balances = nn.Parameter(torch.full((count,), 0.0 if balance == "uncertainty" else 1 / count))
        self.fresh: list[tuple[Tensor, Tensor]] = []  # a step's present tasks, and the balances before it

    def balanced(self, costs: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The costs of the tasks [t], and which the batch contains -> the loss, and the weights of the tasks [t]."""
        if self.training and self.balance in ("uncertainty", "gradnorm"):
            self.fresh.append((present, self.balances.detach().clone()))
        if self.balance == "uncertainty":
            halves = torch.tensor([1.0 if classes else 0.5 for classes in self.targets.values()], device=costs.device)
            weights = halves * (-self.balances).exp()
            return (weights * costs).sum() + (self.balances * present).sum() / 2, weights
        learned = self.balance == "gradnorm"
        weights = self.balances.detach().clone() if learned else torch.full_like(costs, 1 / len(costs)).detach()
        loss = (weights * costs).sum()
        if self.balance != "fixed" and torch.is_grad_enabled():
            # The value of the loss is unchanged, but it gets another gradient.
            slopes = self.pull(costs, present) if learned else self.without_conflicts(weights * costs)
            loss = (loss if learned else loss.detach()) + slopes - slopes.detach()
        return loss, weights

    def pull(self, costs: Tensor, present: Tensor) -> Tensor:
        """GradNorm's loss (algorithm 1): the distance of weighted gradient norms from their goal.

        A cost is taken as its ratio to the initial one, because a trivial prediction costs 1.
        """
        last = [weight for weight in self.encoder.parameters() if weight.ndim > 1][-1]
        lengths = [torch.autograd.grad(cost, last, retain_graph=True)[0].to_dense().norm() for cost in costs]
        weighted, rates = (self.balances * torch.stack(lengths))[present], costs.detach()[present]
        rates = rates / rates.mean()
        return (weighted - (weighted.mean() * rates**self.alpha).detach()).abs().sum()

    def without_conflicts(self, costs: Tensor) -> Tensor:
        """A sum whose gradient in the heads is that of the costs, and in the encoder that of PCGrad (algorithm 1)."""
        wanted, heads = (list(part.parameters()) for part in (self.encoder, self.heads))
        each = [torch.autograd.grad(cost, wanted, retain_graph=True, materialize_grads=True) for cost in costs]
        shared = torch.stack([torch.cat([slope.to_dense().flatten() for slope in found]) for found in each])
        own = torch.autograd.grad(costs.sum(), heads, retain_graph=True)
        slopes = torch.cat([losses.without_conflicts(shared, self.rng), *(slope.flatten() for slope in own)])
        return torch.cat([weight.flatten() for weight in (*wanted, *heads)]) @ slopes

    def after_step(self):
        """Keep the balances in their range; those of tasks not in the batch do not change."""
        if self.fresh:
            parts, (before, *_) = zip(*self.fresh, strict=True)
            present = losses.gather(torch.stack(parts)).any(0)
            uncertain = self.balance == "uncertainty"
            with torch.no_grad():
                self.balances.clamp_(*((-FARTHEST, FARTHEST) if uncertain else (LEAST, None)))
                if not uncertain:
                    self.balances.mul_((before * present).sum() / (self.balances * present).sum())
                self.balances.copy_(self.balances.where(present, before))
            self.fresh.clear()
