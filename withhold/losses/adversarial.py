"""Adversarial losses."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


@float32
def discriminator_loss(true: Tensor, made: Tensor) -> Tensor:
    """The mean of -log D(true) - log(1 - D(made)), from logits (Goodfellow et al., NIPS 2014, eq. 1).

    A discriminator that ignores its input reaches log 4 at best.
    """
    return F.softplus(-true).mean() + F.softplus(made).mean()


@float32
def generator_loss(made: Tensor) -> Tensor:
    """The mean of -log D(made), from logits: the non-saturating loss (Goodfellow et al., section 3)."""
    return F.softplus(-made).mean()


@float32
def least_squares_discriminator_loss(true: Tensor, made: Tensor) -> Tensor:
    """Half the mean of (D(true) - 1)^2 + D(made)^2, from scores without a sigmoid (Mao et al., ICCV 2017, eq. 9).

    A discriminator that ignores its input reaches 1/4 at best.
    """
    return ((true - 1).square().mean() + made.square().mean()) / 2


@float32
def least_squares_generator_loss(made: Tensor) -> Tensor:
    """The mean of (D(made) - 1)^2: twice the loss of Mao et al., as in Zhu et al., ICCV 2017, section 4."""
    return (made - 1).square().mean()


@float32
def gradient_penalty(true: Tensor, made: Tensor, critic: Callable[[Tensor], Tensor], rng: torch.Generator) -> Tensor:
    """The mean of (gradient norm of `critic` - 1)^2 at random points between true and generated images [n, ...].

    Source: Gulrajani et al., NIPS 2017, equation 3 and algorithm 1, without its weight.
    """
    share = torch.rand(len(true), *[1] * (true.ndim - 1), generator=rng, device=rng.device)
    between = torch.lerp(true, made, share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Return `x`; in the backward pass, multiply the gradient by -`strength` (Ganin et al., JMLR 2016, section 4.2).

    The layers after it minimise the loss, and the layers before it maximise it, in one backward pass.
    """
    return _Reverse.apply(x, strength)


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradient, None
