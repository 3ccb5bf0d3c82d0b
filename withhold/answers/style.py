"""Style transfer between images by the features of an encoder, without training."""

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
"""Number of stages, evenly spread, whose statistics define the style."""
EVALUATIONS = 12
"""The most evaluations of a step. The line search needs several: with one, a step that is too long changes nothing."""
INSIDE = 0.02
"""Initial values are at least this far from 0 and 1, where the gradient of a logit vanishes."""


def stylize(
    encoder: ImageEncoder,
    content: Tensor,
    style: Tensor,
    *,
    size: int = 256,
    steps: int = 200,
    weight: float = 5.0,
    report: Callable[[float, float], None] = lambda content, style: None,
) -> Tensor:
    """Transfer the style of one image to the content of another, float [c, h, w] in [0, 1].

    The image is optimised, starting from the content image, to minimise two errors: of the features at a stage three
    quarters through the encoder, compared with the content image; and of the Gram matrices of features at five stages,
    compared with the style image (Gatys, Ecker & Bethge, CVPR 2016, equations 1 to 7). Both errors are relative, so
    that one weight suits every encoder. L-BFGS optimises the Fourier transform of the pixels' logits, in units that are
    smaller for higher frequencies (Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017). If it
    optimises the pixels, networks other than VGG mostly produce fine noise (Mordvintsev, Pezzotti, Schubert & Olah,
    "Differentiable Image Parameterizations", Distill 2018).

    Args:
        encoder: an encoder of images of any shape, such as a convolutional one.
        content, style: uint8 [c, h, w], of any shapes.
        size: longer side of both images in pixels.
        weight: weight of the style error; the content error has 1.
        report: called with both errors after every step.

    Raises:
        UsageError: the encoder has no feature maps for images of this shape.
    """
    encoder.eval().requires_grad_(False)
    content, style = (scaled(image, size, encoder.channels) for image in (content, style))
    places = torch.linspace(0, len(encoder.stages()) - 1, STAGES).round().int().unique().tolist()
    middle = round(0.75 * (len(encoder.stages()) - 1))
    with torch.no_grad():
        kept = maps(encoder, content, [middle])[0]
        wanted = [gram(found) for found in maps(encoder, style, places)]
    unit = units(*content.shape[2:]).to(content.device)
    logits = content.clamp(INSIDE, 1 - INSIDE).logit()
    spectrum = torch.view_as_real(torch.fft.rfft2(logits, norm="ortho") / unit).contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [spectrum], max_iter=1, max_eval=EVALUATIONS, history_size=20, line_search_fn="strong_wolfe"
    )

    def drawn() -> Tensor:
        return torch.fft.irfft2(torch.view_as_complex(spectrum) * unit, content.shape[2:], norm="ortho").sigmoid()

    def errors() -> tuple[Tensor, Tensor]:
        *found, own = maps(encoder, drawn(), [*places, middle])
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
    return drawn().detach()[0]


def scaled(image: Tensor, size: int, channels: int) -> Tensor:
    """An image uint8 [c, h, w] -> float [1, channels, h', w'], whose longer side is `size` pixels."""
    h, w = image.shape[1:]
    shape = [max(1, round(length * size / max(h, w))) for length in (h, w)]
    pixels = F.interpolate(views.to_float(image[None]), shape, mode="bilinear", antialias=True)
    return views.with_channels(pixels, channels)


def units(height: int, width: int) -> Tensor:
    """The unit of each frequency of a spectrum as from `rfft2`: inversely proportional to it, with the mean 1."""
    along, down = torch.fft.rfftfreq(width), torch.fft.fftfreq(height)[:, None]
    found = 1 / torch.hypot(along, down).clamp(min=1 / max(height, width))
    return found / found.mean()


def maps(encoder: ImageEncoder, images: Tensor, places: Sequence[int]) -> list[Tensor]:
    """The outputs of the encoder's stages at `places`, each [n, d, h, w]."""
    outputs: list[Any] = [None] * len(encoder.stages())
    with contextlib.suppress(RuntimeError, AssertionError):  # raised by networks for images of another size
        outputs, _ = stage_outputs(encoder, images)
    found = [outputs[place] for place in places]
    if any(not isinstance(one, Tensor) or one.ndim != 4 for one in found):
        raise UsageError(
            f"The encoder has no feature maps for images of {images.shape[3]} x {images.shape[2]} pixels. "
            "Give a convolutional encoder, such as efficientnet-lite0."
        )
    return found


def gram(features: Tensor) -> Tensor:
    """Gram matrices: features [n, d, h, w] -> mean products of two channels over positions [n, d, d]."""
    rows = features.flatten(2)
    return rows @ rows.mT / rows.shape[2]


def relative(said: Tensor, true: Tensor) -> Tensor:
    """The squared error relative to the squared true values."""
    return (said - true).square().sum() / true.square().sum().clamp(min=1e-12)
