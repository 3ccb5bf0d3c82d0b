"""What excites the stages of an encoder of images: its channels, where in which images, and what did it there."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets
from withhold.data import Samples
from withhold.methods import Classifier
from withhold.nets import ImageEncoder

PROBES = 4
"""Images of noise by which a receptive field is measured."""
TIE = 1e-4
"""How much of its neighbours' mean counts beside a value."""


@dataclass(frozen=True)
class Stage:
    """What was found of a stage, counted from 1 at the input.

    Attributes:
        shape: features and cells of its maps, (d, h, w).
        maxima, places: of every image the largest value of each feature, float [n, d], and the cell that has it.
    """

    number: int
    shape: tuple[int, int, int]
    maxima: Tensor
    places: Tensor


def excite(encoder: ImageEncoder, samples: Samples, most: int, report: Callable[[int], None]) -> list[Stage]:
    """Up to `most` stages that have maps, evenly spread from the first to the last, as `samples` excite them.

    Of a transformer a map has a cell a patch, and the features of that token as channels.

    Args:
        report: told how many images have been seen, batch by batch.
    """
    device, order = next(encoder.buffers()).device, torch.arange(len(samples))
    shapes: dict[int, tuple[int, int, int]] = {}
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}
    with nets.frozen(encoder):
        for images in nets.batches(samples, order, device, 64):
            outputs, maps = nets.stage_outputs(encoder, images)
            for number, output in enumerate(outputs, 1):
                if (seen := nets.as_maps(output, maps)) is not None:
                    # Of places that a ReLU6 caps alike, the one whose neighbours are excited too.
                    seen = seen.float() + TIE * F.avg_pool2d(seen.float(), 3, 1, 1)
                    shapes[number] = (seen.shape[1], seen.shape[2], seen.shape[3])
                    found.setdefault(number, []).append(seen.flatten(2).max(2))
            report(len(images))
    kept = torch.linspace(0, len(found) - 1, min(most, len(found))).round().int().tolist()
    chosen = [list(found)[place] for place in kept]
    return [Stage(number, shapes[number], *map(torch.cat, zip(*found[number], strict=True))) for number in chosen]


def differing(maxima: Tensor, count: int) -> list[int]:
    """The channels that differ most over images: from maxima [n, d] the numbers of up to `count`.

    The first one deviates most; each further one does so most in what those before it do not explain linearly, which is
    what a QR decomposition with pivots takes in turn. Those that are the same for all images are left out.
    """
    from scipy.linalg import qr

    centred = (maxima - maxima.mean(0)).double().cpu().numpy()
    triangle, order = qr(centred, mode="r", pivoting=True)
    size = abs(triangle.diagonal())
    return order[: int((size[:count] > 1e-6 * max(size[0], 1e-12)).sum())].tolist()


def purity(labels: Tensor) -> float:
    """The share of the commonest class among those of images with one, int64 [n]; -1 has none."""
    known = labels[labels >= 0]
    return known.bincount().max().item() / len(known) if len(known) else float("nan")


def field(encoder: ImageEncoder, stage: Stage) -> tuple[int, int, int, int]:
    """The pixels that the middle cell of a stage depends on: how far from its centre to their top, bottom, left, right.

    It is the effective receptive field (Luo et al., NIPS 2016): measured on noise, what holds 95 % of the squares of
    gradients along each side. At the outermost, that is the whole image.
    """
    _, rows, columns = stage.shape
    noise = torch.rand(PROBES, encoder.channels, encoder.size, encoder.size, generator=torch.Generator().manual_seed(0))
    noise = noise.to(next(encoder.buffers()).device).requires_grad_()
    cell = nets.maps_at(encoder, noise, stage.number)[:, :, rows // 2, columns // 2]
    (slope,) = torch.autograd.grad(cell.square().sum(), noise)
    found: list[int] = []
    for middle, axis in zip(centre(stage, rows // 2 * columns + columns // 2, encoder.size), (1, 0), strict=True):
        share = slope.square().sum((0, 1)).sum(axis).cumsum(0)
        share = share / share[-1].clamp(min=1e-30)
        found += [int((share <= 0.025).sum()) - middle, int((share < 0.975).sum()) + 1 - middle]
    return found[0], found[1], found[2], found[3]


def centre(stage: Stage, place: int, size: int) -> tuple[int, int]:
    """The pixel in the middle of a cell."""
    _, rows, columns = stage.shape
    return int((place // columns + 0.5) * size / rows), int((place % columns + 0.5) * size / columns)


def box(stage: Stage, place: int, reach: tuple[int, int, int, int], size: int) -> tuple[slice, slice]:
    """The rows and columns of an image that a cell depends on, all boxes of a stage of one size, inside the image."""
    (y, x), found = centre(stage, place, size), []
    for middle, (before, after) in zip((y, x), (reach[:2], reach[2:]), strict=True):
        length = min(after - before, size)
        start = min(max(middle + before, 0), size - length)
        found.append(slice(start, start + length))
    return found[0], found[1]


@contextlib.contextmanager
def guided(network: nn.Module) -> Iterator[bool]:
    """Let rectifiers pass only what is positive of a gradient (Springenberg et al., ICLR 2015); gives if there are any.

    With what they pass of the forward way, that is the deconvolution of Zeiler & Fergus (ECCV 2014) and the gradient in
    one. Where a ReLU6 is capped it passes too, or the largest values would have no cause.
    """
    rectifiers = [part for part in network.modules() if isinstance(part, nn.ReLU | nn.ReLU6)]
    inplace = [part.inplace for part in rectifiers]
    passed: dict[nn.Module, Tensor] = {}

    def note(part: nn.Module, _inputs: Any, output: Tensor) -> None:
        passed[part] = output > 0

    def positive(part: nn.Module, _inner: Any, outer: Any) -> tuple[Tensor]:
        return (outer[0].clamp(min=0) * passed[part],)

    hooks = [part.register_forward_hook(note) for part in rectifiers]
    hooks += [part.register_full_backward_hook(positive) for part in rectifiers]
    for part in rectifiers:
        part.inplace = False  # which hooks do not go with
    try:
        yield bool(rectifiers)
    finally:
        for hook in hooks:
            hook.remove()
        for part, was in zip(rectifiers, inplace, strict=True):
            part.inplace = was


def causes(encoder: ImageEncoder, stage: Stage, channel: int, images: Tensor, places: Tensor) -> Tensor:
    """What in images [n, c, h, w] drives a channel at a cell of each: the guided gradient there, of the same shape."""
    seen = images.clone().requires_grad_()
    with guided(encoder):
        maps = nets.maps_at(encoder, seen, stage.number)
        return torch.autograd.grad(maps[:, channel].flatten(1).gather(1, places[:, None]).sum(), seen)[0]


@torch.no_grad()
def class_maps(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """Where images [n, c, h, w] show their classes [n], as [n, h, w] in [0, 1]: CAM (Zhou et al., CVPR 2016).

    What is positive of the head's weights times the maps of the encoder that the answer comes from, as a share of an
    image's largest. None where the features that the head takes are no mean of maps.
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
