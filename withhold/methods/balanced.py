"""The base class of multi-task methods: the balance of the costs of their tasks."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from withhold import losses
from withhold.methods.base import Method

Balance = Literal["fixed", "uncertainty", "gradnorm", "pcgrad"]

FARTHEST, LEAST = 5.0, 1e-3
"""Maximum absolute value of a log variance, and the minimum weight before weights are scaled to the sum 1."""


class BalancedTasks(Method):
    """A method that learns several tasks at once. The cost of each is scaled so that a trivial prediction costs 1.

    A subclass calls `start_balance` and computes its loss with `combined`.
    """

    def start_balance(self, tasks: Mapping[str, bool], balance: Balance, alpha: float) -> None:
        """Set how the tasks are weighted.

        Args:
            tasks: by name, whether the cost is a cross-entropy; otherwise it is a squared error.
            balance: "fixed", or as in Kendall et al. (CVPR 2018, "uncertainty"), Chen et al. (ICML 2018, "gradnorm") or
                Yu et al. (NeurIPS 2020, "pcgrad").
            alpha: for "gradnorm", how much more weight tasks get that have learned less than the others.
        """
        self.balance, self.alpha, self.tasks = balance, alpha, dict(tasks)
        if balance in ("uncertainty", "gradnorm"):
            start = 0.0 if balance == "uncertainty" else 1 / len(tasks)
            self.balances = nn.Parameter(torch.full((len(tasks),), start))
        self.before: list[tuple[Tensor, Tensor]] = []  # a step's present tasks, and the balances before it

    def shared(self) -> list[nn.Parameter]:
        """The weights that all tasks use, in the order of the layers; each other weight belongs to one task."""
        return [weight for weight in self.encoder.parameters() if weight.requires_grad]

    def combined(self, costs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The cost of each task, and whether the batch contains it -> the loss, what it would be if every cost were 1,
        and the cost and the weight of each task."""
        together, known = (torch.stack([each[task] for task in self.tasks]) for each in (costs, present))
        loss, weights = self.balanced(together, known)
        terms = {"loss": loss, "trivial": (loss + (weights * known * (1 - together)).sum()).detach()}
        for task, cost, weight in zip(self.tasks, together, weights.detach(), strict=True):
            terms |= {f"cost of {task}": cost, f"weight of {task}": weight}
        return terms

    def balanced(self, costs: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The costs of the tasks [t], and which the batch contains -> the loss, and the weights of the tasks [t]."""
        if self.training and self.balance in ("uncertainty", "gradnorm"):
            self.before.append((present, self.balances.detach().clone()))
        if self.balance == "uncertainty":
            halves = [1.0 if entropy else 0.5 for entropy in self.tasks.values()]
            weights = torch.tensor(halves, device=costs.device) * (-self.balances).exp()
            return (weights * costs).sum() + (self.balances * present).sum() / 2, weights
        learned = self.balance == "gradnorm"
        weights = self.balances.detach().clone() if learned else torch.full_like(costs, 1 / len(costs))
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
        for last in reversed([weight for weight in self.shared() if weight.ndim > 1]):
            (slope,) = torch.autograd.grad(costs[0], last, retain_graph=True, allow_unused=True)
            if slope is not None:
                break
        slopes = [slope, *(torch.autograd.grad(cost, last, retain_graph=True)[0] for cost in costs[1:])]
        lengths = torch.stack([slope.to_dense().norm() for slope in slopes])
        weighted, rates = (self.balances * lengths)[present], costs.detach()[present]
        rates = rates / rates.mean().clamp(min=1e-12)
        return (weighted - (weighted.mean() * rates**self.alpha).detach()).abs().sum()

    def without_conflicts(self, costs: Tensor) -> Tensor:
        """A sum whose gradient in shared weights is that of PCGrad (algorithm 1), and in others that of the costs."""
        wanted = self.shared()
        known = set(map(id, wanted))
        heads = [weight for weight in self.parameters() if weight.requires_grad and id(weight) not in known]
        each = [torch.autograd.grad(cost, wanted, retain_graph=True, materialize_grads=True) for cost in costs]
        shared = torch.stack([torch.cat([slope.to_dense().flatten() for slope in found]) for found in each])
        own = torch.autograd.grad(costs.sum(), heads, retain_graph=True, materialize_grads=True)
        slopes = torch.cat([losses.without_conflicts(shared, self.rng), *(slope.flatten() for slope in own)])
        return torch.cat([weight.flatten() for weight in (*wanted, *heads)]) @ slopes

    def after_step(self):
        """Keep the balances in their range; those of tasks not in the batch do not change."""
        if self.before:
            parts, (before, *_) = zip(*self.before, strict=True)
            present = losses.gather(torch.stack(parts)).any(0)
            uncertain = self.balance == "uncertainty"
            with torch.no_grad():
                self.balances.clamp_(*((-FARTHEST, FARTHEST) if uncertain else (LEAST, None)))
                if not uncertain:
                    self.balances.mul_((before * present).sum() / (self.balances * present).sum())
                self.balances.copy_(self.balances.where(present, before))
            self.before.clear()
