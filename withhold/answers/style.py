"""Style transfer: an image drawn anew as another one is, by what an encoder sees in both. Nothing is trained."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import views
from withhold.errors import UsageError
from withhold.nets import ImageEncoder, stage_outputs

STAGES = 5
"""From the first to the last, whose statistics are the style."""
INSIDE = 0.02
"""How far from black and white values begin: beyond it a logit has hardly a gradient."""


def stylize(
    encoder: ImageEncoder,
    content: Tensor,
    style: Tensor,
    *,
    size: int = 256,
    steps: int = 200,
    weight: float = 100.0,
    report: Callable[[float, float], None] = lambda content, style: None,
) -> Tensor:
    """Draw one image as another one is: with its own content and the other's style, float [c, h, w] in [0, 1].

    Pixels are moved, from the content image on, until two relative errors are small: of the features at a stage three
    quarters through the encoder, compared with the content's; and of the Gram matrices of features at five stages,
    compared with the style's (Gatys, Ecker & Bethge, CVPR 2016, equations 1 to 7, each error as a share of what it is
    an error in, so that one weight suits every encoder). By L-BFGS, on the logits of the pixels.

    Args:
        encoder: of images of any shape, such as a convolutional one.
        content, style: uint8 [c, h, w], each of a shape of its own.
        size: pixels of the longer side of both.
        weight: of the style, beside 1 for the content.
        report: told both errors after every step.

    Raises:
        UsageError: the encoder has no maps of features of such images.
    """
    encoder.eval().requires_grad_(False)
    content, style = (scaled(image, size, encoder.channels) for image in (content, style))
    places = torch.linspace(0, len(encoder.stages()) - 1, STAGES).round().int().unique().tolist()
    middle = round(0.75 * (len(encoder.stages()) - 1))
    with torch.no_grad():
        kept = maps(encoder, content, [middle])[0]
        wanted = [gram(found) for found in maps(encoder, style, places)]
    logits = content.clamp(INSIDE, 1 - INSIDE).logit().contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=1, history_size=20, line_search_fn="strong_wolfe")

    def errors() -> tuple[Tensor, Tensor]:
        *found, own = maps(encoder, logits.sigmoid(), [*places, middle])
        each = [relative(gram(each), goal) for each, goal in zip(found, wanted, strict=True)]
        return relative(own, kept), torch.stack(each).mean()

    def closure() -> Tensor:
        optimizer.zero_grad()
        missed, apart = errors()
        loss = missed + weight * apart
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)  # type: ignore[arg-type]
        with torch.no_grad():
            missed, apart = errors()
        report(missed.item(), apart.item())
    return logits.detach().sigmoid()[0]


def scaled(image: Tensor, size: int, channels: int) -> Tensor:
    """An image uint8 [c, h, w] -> float [1, channels, h', w'], whose longer side is `size` pixels."""
    h, w = image.shape[1:]
    shape = [max(1, round(length * size / max(h, w))) for length in (h, w)]
    pixels = F.interpolate(views.to_float(image[None]), shape, mode="bilinear", antialias=True)
    return views.with_channels(pixels, channels)


def maps(encoder: ImageEncoder, images: Tensor, places: Sequence[int]) -> list[Tensor]:
    """What comes out of the encoder's stages at `places`, each [n, d, h, w]."""
    outputs: list[Any] = [None] * len(encoder.stages())
    with contextlib.suppress(RuntimeError, AssertionError):  # what networks say of images of another size
        outputs, _ = stage_outputs(encoder, images)
    found = [outputs[place] for place in places]
    if any(not isinstance(one, Tensor) or one.ndim != 4 for one in found):
        raise UsageError(
            f"The encoder gives no maps of the features of images of {images.shape[3]} x {images.shape[2]} pixels: "
            "name a convolutional one, such as efficientnet-lite0."
        )
    return found


def gram(features: Tensor) -> Tensor:
    """Features [n, d, h, w] -> how often two of them occur together, wherever they do [n, d, d]."""
    rows = features.flatten(2)
    return rows @ rows.mT / rows.shape[2]


def relative(said: Tensor, true: Tensor) -> Tensor:
    """The squared error as a share of the squares of what is true."""
    return (said - true).square().sum() / true.square().sum().clamp(min=1e-12)
