"""Consistency losses, which ask for the same prediction for views of the same sample, and their schedules."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32

Annealing = Literal["none", "log", "linear", "exp"]


@float32
def sharpen(shares: Tensor, temperature: float) -> Tensor:
    """Class probabilities [n, k] to the power of 1 / `temperature`, normalised (Berthelot et al., 2019, equation 7).

    For softmax(scores) this is softmax(scores / temperature).
    """
    return (shares.log() / temperature).softmax(1)


@float32
def align(answers: Tensor, usual: Tensor, wanted: Tensor) -> Tensor:
    """Distribution alignment: scale class probabilities [n, k] by `wanted` / `usual` [k] and normalise them.

    `usual` is the mean prediction for each class, `wanted` the desired one. Source: Berthelot et al., ICLR 2020,
    section 3.1.
    """
    scaled = answers * wanted / usual.clamp(min=1e-6)
    return scaled / scaled.sum(1, keepdim=True)


@float32
def divergence(target: Tensor, scores: Tensor) -> Tensor:
    """KL(target || softmax(scores)) of every row [n], from class probabilities [n, k] and scores [n, k]."""
    return F.kl_div(scores.log_softmax(1), target, reduction="none").sum(1)


@float32
def self_information(scores: Tensor) -> Tensor:
    """The contribution of each class to the entropy of softmax(scores): -p log p, in the shape of scores [n, k, ...].

    In nats; its gradient is finite where a probability is 0.
    """
    logs = scores.log_softmax(1)
    return -(logs.exp() * logs)


def entropy(scores: Tensor) -> Tensor:
    """The entropy of softmax(scores) [n, k, ...] of every row [n, ...], in nats: see `self_information`."""
    return self_information(scores).sum(1)


def entropy_of_counts(numbers: Tensor, count: int) -> Tensor:
    """The entropy of the frequencies of the numbers 0 to `count` - 1, of any shape, in nats; 0 if there are none."""
    places, counts = numbers.flatten(), torch.zeros(count, device=numbers.device)
    counts.index_add_(0, places, torch.ones(len(places), device=numbers.device))  # `bincount` would wait for a GPU
    return torch.special.entr(counts / max(1, len(places))).sum()


@torch.enable_grad()
def virtual_adversarial(
    answer: Callable[[Tensor], Tensor], items: Tensor, shares: Tensor, reach: float, rng: torch.Generator
) -> Tensor:
    """The unit direction in which each prediction changes most, by one power iteration (Miyato et al., 2018).

    Args:
        answer: maps samples to scores of the classes [n, k].
        items: samples [n, ...]; n may be 0.
        shares: the predicted class probabilities for the samples [n, k].
        reach: the Euclidean length of the random step at which the gradient is taken.
    """
    if not len(items):
        return items
    step = (reach * _unit(torch.randn(items.shape, generator=rng, device=items.device))).requires_grad_()
    return _unit(torch.autograd.grad(divergence(shares, answer(items + step)).sum(), step)[0])


def changed_for_the_worst(
    answer: Callable[[Tensor], Tensor], items: Tensor, shares: Tensor, radius: float, rng: torch.Generator
) -> Tensor:
    """Samples, each moved in the direction of `virtual_adversarial` by a root mean square of `radius` over its values.

    The direction is computed at the same distance, because a tiny step would be rounded away in half precision.
    """
    length = radius * math.prod(items.shape[1:]) ** 0.5
    return items + length * virtual_adversarial(answer, items, shares, length, rng)


@torch.enable_grad()
def adversarial_mask(answer: Callable[[Tensor], Tensor], masks: Tensor, shares: Tensor, most: int) -> Tensor:
    """Masks with up to `most` entries flipped: those that, by gradient, most increase the divergence from `shares`.

    Source: Park et al., AAAI 2018, algorithm 1.

    Args:
        answer: maps masks to scores of the classes [n, k].
        masks: zeros and ones [n, d]; n may be 0.
        shares: class probabilities [n, k], predicted with another mask; with the same mask, all gradients are 0.
    """
    if not len(masks):
        return masks
    masks = masks.detach().requires_grad_()
    gains = torch.autograd.grad(divergence(shares, answer(masks)).sum(), masks)[0] * (1 - 2 * masks)
    best, places = gains.detach().topk(most, dim=1)
    return (masks.detach() - torch.zeros_like(gains).scatter(1, places, (best > 0).float())).abs()


def project_simplex(rows: Tensor) -> Tensor:
    """Rows [n, k] -> their Euclidean projections on the probability simplex (Duchi et al., ICML 2008)."""
    falling = rows.sort(1, descending=True).values
    excess = (falling.cumsum(1) - 1) / torch.arange(1, rows.shape[1] + 1, device=rows.device)
    kept = (falling > excess).sum(1, keepdim=True)
    return (rows - excess.gather(1, kept - 1)).clamp(min=0)


def mean(values: Tensor) -> Tensor:
    """The mean of all values; 0 if there are none."""
    return values.sum() / max(1, values.numel())


def spread(rows: Tensor) -> Tensor:
    """The variance of each column of rows [n, k], averaged over columns: the squared error of the mean row."""
    return mean((rows - rows.sum(0) / max(1, len(rows))).square())


def _unit(x: Tensor) -> Tensor:
    """[n, ...] -> the same, each of length 1."""
    return F.normalize(x.flatten(1), dim=1).view_as(x)


@float32
def swapped_cross_entropy(targets: Tensor, scores: Tensor) -> Tensor:
    """The mean cross-entropy of every view's scores with the target of every other view of the same sample.

    Source: Caron et al., NeurIPS 2020, equation 2, and ICCV 2021, equation 3.

    Args:
        targets: class probabilities [g, n, k] of the first g views.
        scores: [v, n, k], for all views; with a single view the result is NaN.
    """
    (g, n, _), v = targets.shape, len(scores)
    costs = -targets.flatten(1) @ scores.log_softmax(2).flatten(1).T / n
    return (costs.sum() - costs.trace()) / (g * (v - 1))


def sure_divergence(answers: Tensor, scores: Tensor, temperature: float, confidence: float) -> tuple[Tensor, Tensor]:
    """KL(sharpened prediction || softmax(scores)) for confident predictions (Xie et al., NeurIPS 2020).

    Args:
        answers: predicted class probabilities [n, k]; confident if the largest is above `confidence` before sharpening.
        scores: [n, k].
        temperature: temperature of the sharpening.

    Returns:
        the mean over all rows, where other predictions count as 0; and the share of confident ones. Both are 0 if n is
        0.
    """
    sure = (answers.amax(1) > confidence).float()
    return mean(sure * divergence(sharpen(answers, temperature), scores)), mean(sure)


def sure_cross_entropy(answers: Tensor, scores: Tensor, confidence: float | Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy with the pseudo-labels of confident predictions (Sohn et al., NeurIPS 2020, equation 4).

    Args:
        answers: predicted class probabilities [n, k]; confident if the largest is at least its class's `confidence`.
        scores: [n, k].
        confidence: the threshold for all classes, or one for each [k].

    Returns:
        the mean over all rows, where other predictions count as 0; and the share of confident ones. Both are 0 if n is
        0.
    """
    shares, guesses = answers.max(1)
    sure = shares >= (confidence[guesses] if isinstance(confidence, Tensor) else confidence)
    return mean(sure * F.cross_entropy(scores, guesses, reduction="none")), mean(sure)


@float32
def annealed_cross_entropy(scores: Tensor, labels: Tensor, known: float) -> Tensor:
    """Mean cross-entropy over the rows [n, k] whose label has a probability of at most `known`; 0 if there are none.

    Source: training signal annealing, Xie et al., NeurIPS 2020.
    """
    kept = scores.detach().softmax(1).gather(1, labels[:, None])[:, 0] <= known
    return (F.cross_entropy(scores, labels, reduction="none") * kept).sum() / kept.sum().clamp(min=1)


def annealing(way: Annealing, progress: float, classes: int) -> float:
    """The schedule of `known` for `annealed_cross_entropy`: from 1 / `classes` to 1 as `progress` rises from 0 to 1.

    "none" is always 1. The start of "exp" and the end of "log" are approximate, to 1 %.
    """
    t = progress
    risen = {"none": 1.0, "log": 1 - math.exp(-5 * t), "linear": t, "exp": math.exp(5 * (t - 1))}[way]
    return risen * (1 - 1 / classes) + 1 / classes


def ramp_up(t: float) -> float:
    """exp(-5 (1 - t)^2) up to t = 1, then 1 (Laine & Aila, ICLR 2017)."""
    return math.exp(-5 * (1 - min(1.0, t)) ** 2)
