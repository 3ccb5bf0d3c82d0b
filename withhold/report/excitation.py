"""Activations of the stages of an image encoder: the strongest channels, their positions, and their causes."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets
from withhold.data import Samples
from withhold.methods import Classifier
from withhold.nets import ImageEncoder

PROBES = 4
"""Noise images used to measure a receptive field."""
TIE = 1e-4
"""Weight of the mean of its neighbours that is added to a value."""


@dataclass(frozen=True)
class Stage:
    """The activations of a stage; stages are counted from 1 at the input.

    Attributes:
        shape: channels, height and width of its maps, (d, h, w).
        maxima, places: the largest value of each channel in every image, float [n, d], and its cell.
    """

    number: int
    shape: tuple[int, int, int]
    maxima: Tensor
    places: Tensor


class Span(NamedTuple):
    """The receptive field of a cell along one side: pixels [start, end), shifted by `step` for the next cell."""

    start: int
    end: int
    step: int


def excite(encoder: ImageEncoder, samples: Samples, most: int, report: Callable[[int], None]) -> list[Stage]:
    """The activations of up to `most` stages with maps on `samples`, evenly spread from the first stage to the last.

    The map of a transformer has a cell for each patch, and the components of its token as channels.

    Args:
        report: called with the number of images of each batch.
    """
    device, order = next(encoder.buffers()).device, torch.arange(len(samples))
    shapes: dict[int, tuple[int, int, int]] = {}
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}
    with nets.frozen(encoder):
        for images in nets.batches(samples, order, device, 64):
            outputs, maps = nets.stage_outputs(encoder, images)
            for number, output in enumerate(outputs, 1):
                if (seen := nets.as_maps(output, maps)) is not None:
                    # Breaks ties between cells capped by a ReLU6: the one with the more active neighbours wins.
                    seen = seen.float() + TIE * F.avg_pool2d(seen.float(), 3, 1, 1)
                    shapes[number] = (seen.shape[1], seen.shape[2], seen.shape[3])
                    found.setdefault(number, []).append(seen.flatten(2).max(2))
            report(len(images))
    kept = torch.linspace(0, len(found) - 1, min(most, len(found))).round().int().tolist()
    chosen = [list(found)[place] for place in kept]
    return [Stage(number, shapes[number], *map(torch.cat, zip(*found[number], strict=True))) for number in chosen]


def differing(maxima: Tensor, count: int) -> list[int]:
    """Numbers of up to `count` channels that vary most over images, from maxima [n, d].

    The first channel has the largest variance. Each further channel has the largest variance that is not linearly
    explained by the previous ones (QR decomposition with pivoting). Constant channels are left out.
    """
    from scipy.linalg import qr

    centred = (maxima - maxima.mean(0)).double().cpu().numpy()
    triangle, order = qr(centred, mode="r", pivoting=True)
    size = abs(triangle.diagonal())
    return order[: int((size[:count] > 1e-6 * max(size[0], 1e-12)).sum())].tolist()


def purity(labels: Tensor) -> float:
    """The share of the most frequent class among labels int64 [n], some of which are known; -1 means no label."""
    known = labels[labels >= 0]
    return known.bincount().max().item() / len(known)


def field(encoder: ImageEncoder, stage: Stage) -> tuple[Span, Span]:
    """The receptive field of the middle cell of a stage, in rows and in columns of pixels.

    It is the effective receptive field (Luo et al., NIPS 2016), measured on noise: the span with 95 % of the squared
    gradients along each side, at most the whole image. The step is the distance between the means of the squared
    gradients of the middle cell and of one nearer to the corner, per cell, in whole pixels.
    """
    middle, other = ([length // part for length in stage.shape[1:]] for part in (2, 4))
    noise = torch.rand(PROBES, encoder.channels, encoder.size, encoder.size, generator=torch.Generator().manual_seed(0))
    noise = noise.to(next(encoder.buffers()).device).requires_grad_()
    maps = nets.maps_at(encoder, noise, stage.number)

    def shares(row: int, column: int) -> list[Tensor]:
        (slope,) = torch.autograd.grad(maps[:, :, row, column].square().sum(), noise, retain_graph=True)
        squares = slope.square().sum((0, 1)).cpu()
        return [squares.sum(axis) / squares.sum().clamp(min=1e-30) for axis in (1, 0)]

    found, pixels = [], torch.arange(encoder.size)
    for own, others, cells in zip(shares(*middle), shares(*other), np.subtract(middle, other), strict=True):
        step = max(round((pixels * (own - others)).sum().item() / max(int(cells), 1)), 0)
        below = own.cumsum(0)
        found.append(Span(int((below <= 0.025).sum()), int((below < 0.975).sum()) + 1, step))
    return found[0], found[1]


def box(stage: Stage, place: int, spans: tuple[Span, Span], size: int) -> tuple[slice, slice]:
    """The rows and columns of an image that a cell depends on; boxes of a stage have one size and lie in the image."""
    _, rows, columns = stage.shape
    away, found = (place // columns - rows // 2, place % columns - columns // 2), []
    for cells, span in zip(away, spans, strict=True):
        length = min(span.end - span.start, size)
        start = min(max(span.start + cells * span.step, 0), size - length)
        found.append(slice(start, start + length))
    return found[0], found[1]


@contextlib.contextmanager
def guided(network: nn.Module) -> Iterator[bool]:
    """Guided backpropagation: ReLUs pass only positive gradients (Springenberg et al., ICLR 2015).

    Combined with the mask of the forward pass, this joins the deconvolution of Zeiler & Fergus (ECCV 2014) and the
    gradient. A capped ReLU6 passes the gradient too; otherwise the largest values would have none. Yields whether
    the network has ReLUs.
    """
    rectifiers = [part for part in network.modules() if isinstance(part, nn.ReLU | nn.ReLU6)]
    inplace = [part.inplace for part in rectifiers]

    def guide(_part: nn.Module, seen: tuple[Tensor], output: Tensor) -> Tensor:
        passed = seen[0] * (output > 0)
        if passed.requires_grad:
            passed.register_hook(lambda slope: slope.clamp(min=0))
        return passed + (output - passed).detach()  # the output itself, with the gradient of `passed`

    hooks = [part.register_forward_hook(guide) for part in rectifiers]
    for part in rectifiers:
        part.inplace = False  # in place, it would overwrite the hook's output
    try:
        yield bool(rectifiers)
    finally:
        for hook in hooks:
            hook.remove()
        for part, was in zip(rectifiers, inplace, strict=True):
            part.inplace = was


def causes(encoder: ImageEncoder, stage: Stage, channel: int, images: Tensor, places: Tensor) -> Tensor:
    """Guided gradient of a channel at one cell of each image, with respect to the images [n, c, h, w]."""
    seen = images.clone().requires_grad_()
    with guided(encoder):
        maps = nets.maps_at(encoder, seen, stage.number)
        return torch.autograd.grad(maps[:, channel].flatten(1).gather(1, places[:, None]).sum(), seen)[0]


@torch.no_grad()
def class_maps(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """Class activation maps [n, h, w] in [0, 1] of images [n, c, h, w] and classes [n] (Zhou et al., CVPR 2016).

    The positive part of the head's weights times the encoder's maps, divided by its maximum in each image. None if the
    head's input is not the mean of the encoder's maps.
    """
    found: list[tuple[Any, Tensor]] = []
    encoders = [part for part in classifier.modules() if isinstance(part, ImageEncoder)]
    hooks = [part.register_forward_hook(lambda part, _, output: found.append((part, output))) for part in encoders]
    try:
        classifier.classify(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        return None
    encoder, features = found[-1]
    maps, weight = encoder.maps(images), classifier.heads()[-1].weight
    if weight.shape[1] != maps.shape[1] or not torch.allclose(maps.mean((2, 3)), features, rtol=1e-3, atol=1e-4):
        return None
    shown = torch.einsum("nd,ndhw->nhw", weight[classes], maps).clamp(min=0)[:, None]
    shown = shown / shown.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return F.interpolate(shown, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
