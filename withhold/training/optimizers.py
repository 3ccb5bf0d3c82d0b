"""Optimisers and learning rate schedules."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from withhold.errors import UsageError, suggestion
from withhold.methods import Encoder, Optimizer

REFERENCE_BATCH = 256
TRUST, FINAL = 0.001, 0.001  # the trust coefficient of LARS; the final share of the learning rate
USUAL_LR = {"adamw": 1e-3, "sgd": 0.06, "lars": 0.3, "adagrad": 0.1}
"""Learning rates at the reference batch, if the user chooses another optimiser but no learning rate."""


class LARS(torch.optim.SGD):
    """SGD with momentum whose step is scaled, tensor by tensor, by the ratio of the weight's to the gradient's norm.

    You, Gitman & Ginsburg, 2017: "Large batch training of convolutional networks". Biases and normalisation parameters
    (groups that are not `scaled`) get plain SGD steps, as is common in self-supervised learning. Weight decay is the
    group's `decay` instead of SGD's `weight_decay`, because it belongs inside the scaling.
    """

    def __init__(self, params, lr: float):
        super().__init__(params, lr=lr, momentum=0.9)
        for group in self.param_groups:
            group.setdefault("decay", 0.0)
            group.setdefault("scaled", True)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or not group["scaled"]:
                    continue
                gradient = parameter.grad.add_(parameter, alpha=group["decay"])
                weight_norm, gradient_norm = parameter.norm(), gradient.norm()
                ratio = TRUST * weight_norm / gradient_norm.clamp_min(1e-12)
                gradient.mul_(torch.where(weight_norm > 0, ratio, 1.0))
        return super().step(closure)


class Adagrad(torch.optim.Optimizer):
    """Row-wise Adagrad for embedding tables: a row's step is divided by the root of its summed mean squared gradients.

    Duchi, Hazan & Singer, JMLR 2011, with one sum for each row instead of one for each number. Gradients may be sparse
    and may contain a row several times; rows without a gradient do not change.
    """

    def __init__(self, params, lr: float):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                table, gradient = torch.atleast_1d(parameter), torch.atleast_1d(parameter.grad)
                sums = self.state[parameter].setdefault("sum", table.new_zeros(len(table)))
                rows = torch.arange(len(table), device=table.device)
                if gradient.is_sparse:
                    rows, gradient = _summed(gradient)
                total = sums[rows] + gradient.square().reshape(len(rows), -1).mean(1)
                sums.index_copy_(0, rows, total)
                scale = total.sqrt_().add_(1e-10).view(-1, *[1] * (gradient.ndim - 1))
                moved = table.index_select(0, rows).addcdiv_(gradient, scale, value=-group["lr"])
                table.index_copy_(0, rows, moved)


def _summed(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of a sparse gradient, each once, and the sums of their values.

    Without sorting, unlike `coalesce`: faster unless the table is far larger than the batch.
    """
    index, values = gradient._indices()[0], gradient._values()
    given = torch.zeros(len(gradient), dtype=torch.bool, device=index.device).index_fill_(0, index, True)
    rows = given.nonzero()[:, 0]
    place = given.cumsum(0).sub_(1)[index]
    return rows, values.new_zeros(len(rows), *values.shape[1:]).index_add_(0, place, values)


def adapt(own: Optimizer, name: str | None, lr: float | None, weight_decay: float | None) -> Optimizer:
    """Return the method's `own` optimiser with the user's settings; another optimiser gets its usual learning rate."""
    if own.name == "adagrad" and (name not in (None, "adagrad") or weight_decay):
        raise UsageError(
            "This method's gradients are sparse, and only adagrad without weight decay supports these. Remove "
            "--optimizer and --weight-decay."
        )
    if name == "adagrad" and weight_decay:
        raise UsageError("adagrad has no weight decay. Remove --weight-decay, or choose another --optimizer.")
    usual = own.lr if name in (None, own.name) else USUAL_LR.get(name, own.lr)
    return replace(
        own,
        name=name or own.name,
        lr=usual if lr is None else lr,
        weight_decay=own.weight_decay if weight_decay is None else weight_decay,
    )


def build(
    modules: Sequence[nn.Module],
    recipe: Optimizer,
    lr: float,
    encoder_lr: float | None = None,
    layer_decay: float | None = None,
) -> torch.optim.Optimizer:
    """Build the optimiser of `recipe` over the trainable parameters of `modules`, at peak learning rate `lr`.

    A group's "share" is the factor of its learning rate, which the training loop applies. It is 1 outside encoders,
    `encoder_lr` for the last stage of an encoder, and `layer_decay` times that of the next stage for each stage before;
    None stands for 1.
    """
    last, decay = (1.0 if share is None else share for share in (encoder_lr, layer_decay))
    shares: dict[nn.Parameter, float] = {}
    for encoder in (part for module in modules for part in module.modules() if isinstance(part, Encoder)):
        for place, stage in enumerate(reversed(encoder.stages())):
            for part in stage:
                for weight in part.parameters() if isinstance(part, nn.Module) else [part]:
                    shares.setdefault(weight, last * decay**place)  # an outer encoder comes first
        for weight in encoder.parameters():
            shares.setdefault(weight, last)
    grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for weight in dict.fromkeys(p for module in modules for p in module.parameters() if p.requires_grad):
        grouped.setdefault((shares.get(weight, 1.0), weight.ndim > 1), []).append(weight)
    groups = [
        {"params": chosen, "weight_decay": recipe.weight_decay * decayed, "share": share, "scaled": decayed}
        for (share, decayed), chosen in sorted(grouped.items(), key=lambda group: group[0], reverse=True)
    ]
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=recipe.betas)
    if recipe.name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    if recipe.name == "lars":
        return LARS([group | {"decay": group["weight_decay"], "weight_decay": 0.0} for group in groups], lr=lr)
    if recipe.name == "adagrad":
        return Adagrad(groups, lr=lr)
    raise UsageError(f"There is no optimiser {recipe.name!r}: {suggestion(recipe.name, USUAL_LR)}")


def peak_lr(recipe: Optimizer, batch_size: int) -> float:
    """The recipe's learning rate for a batch size: scaled linearly for SGD and LARS, by the square root for others."""
    ratio = batch_size / REFERENCE_BATCH
    return recipe.lr * (ratio if recipe.name in ("sgd", "lars") else math.sqrt(ratio))


def schedule(recipe: Optimizer, step: int, steps: int, warmup: int) -> float:
    """The share of the peak learning rate at `step` of `steps`: a linear warm-up, then the recipe's schedule."""
    if recipe.schedule == "cyclic":
        done = recipe.cycles * step / steps % 1
    elif step < warmup:
        return (step + 1) / warmup
    else:
        done = (step - warmup) / max(1, steps - warmup) if recipe.schedule == "cosine" else 0.0
    return FINAL + (1 - FINAL) * (1 + math.cos(math.pi * done)) / 2


def clip(optimizer: torch.optim.Optimizer, norm: float) -> Tensor:
    """Scale the optimiser's gradients down to a joint norm of at most `norm`, and return their norm before."""
    gradients = []
    for parameter in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
        if parameter.grad.is_sparse:  # sum repeated rows
            parameter.grad = parameter.grad.coalesce()
        gradients.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
    before = nn.utils.get_total_norm(gradients)
    share = (norm / (before + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(share)
    return before
