"""Default settings, chosen from the data, the budget and the hardware."""

import math
import typing
from typing import Any

import torch
from torch import nn

from withhold import data, kinds
from withhold.methods import Method
from withhold.nets import AudioEncoder, AudioVisualEncoder, ConvNet, Encoder, ImageEncoder, TextEncoder, VideoEncoder
from withhold.orders import whole

GPU_SIZE, CPU_ENLARGED = 224, 128
SIZES = (32, 48, 64, 96, 128, 160)
"""Image sizes in pixels to choose from if there is no time for enough training at the original size."""
SMALL, STEPS, PASSES = 64, 1000, 20
"""Enough training is this many STEPS, with batches as small as SMALL if necessary, or PASSES over the data."""
ENCODERS = {known.kind: known.default for known in (VideoEncoder, AudioEncoder, TextEncoder, AudioVisualEncoder)}
"""Default encoders of methods that take any encoder, by kind of data; for images the hardware decides."""


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precisions(device: torch.device, encoder: Encoder) -> list[str]:
    """Return the precisions that may be fastest, likeliest first: bf16 if the hardware supports it, else float32.

    On a CPU with AMX or AVX512-BF16, either may be faster: with bf16, threads busy-wait for each other if other
    processes use a core, narrow layers gain less, and gradients of depthwise convolutions take several times as long.
    bf16 is excluded for convolutions in space and time, because oneDNN's gradients are not always finite.
    """
    if device.type == "cuda":
        return ["bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"]
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if not fast or isinstance(encoder, VideoEncoder):
        return ["32-true"]
    depthwise = any(isinstance(part, nn.Conv2d) and part.groups > 1 for part in encoder.modules())
    return ["32-true", "bf16-mixed"] if depthwise or isinstance(encoder, ConvNet) else ["bf16-mixed", "32-true"]


def precision(device: torch.device, encoder: Encoder) -> str:
    """The precision if nothing is timed."""
    return precisions(device, encoder)[0]


def encoder(method: type[Method], device: torch.device, kind: str) -> str:
    """The default encoder for the method, the kind of data and the hardware."""
    needed = typing.get_type_hints(method.__init__).get("encoder")
    if isinstance(needed, type) and issubclass(needed, Encoder) and needed.default:
        return needed.default
    of_images = isinstance(needed, type) and issubclass(needed, ImageEncoder)  # also for the frames of a video
    if kind in ENCODERS and not of_images:
        return ENCODERS[kind]
    return "convnet" if device.type == "cpu" else "resnet18"


def size(measured: int, device: torch.device, trained_at: int = 0) -> int:
    """The side of the square input in pixels: that of the images, at least 32 and at most what suits the hardware.

    Args:
        trained_at: the image size on which the encoder's pretrained weights were trained, to which smaller images are
            enlarged; 0 for random weights.
    """
    if trained_at:
        return trained_at if device.type == "cuda" else min(trained_at, max(data.default_size(measured), CPU_ENLARGED))
    return data.default_size(measured) if device.type == "cpu" else data.default_size(measured, most=GPU_SIZE)


def enough(steps: float, passes: float) -> bool:
    """Whether this many steps or epochs are enough training."""
    return steps >= STEPS or passes >= PASSES


def batch_size(method: type[Method], count: int, kind: str, items: float = math.inf) -> int:
    """The batch size: that of the method or the kind; for small data, the largest power of two with ten steps an epoch.

    A loss that compares items needs larger batches, so two steps an epoch are enough for it. If there is no time for a
    thousand steps, the batch size is reduced, down to 64. It is rounded up to what the order of items needs, such as
    whole episodes.

    Args:
        items: how many items there is time for, counted with repeats.
    """
    least = count // (2 if method.compares else 10)
    few = min(method.batch_size or kinds.of(kind).batch, 2 ** (max(2, least).bit_length() - 1), count)
    if items < STEPS * few:
        few = min(few, max(SMALL, 2 ** (int(items / STEPS).bit_length() - 1)))
    return whole(method.order, max(2, few))


def images(count: int, device: torch.device) -> int:
    """How many items, counted with repeats, a network is trained on if `count` items are labelled.

    This is 100 times each, up to 20,000 in total, and 30 times each if that is more; at most 100,000 on a CPU or
    2,000,000 on a GPU.
    """
    return min(max(30 * count, min(100 * count, 20_000)), 100_000 if device.type == "cpu" else 2_000_000)


def layerwise(learned: bool, pretrained: bool = False) -> dict[str, Any]:
    """Default "encoder_lr" and "layer_decay" (see `Plan`): lower for a pretrained encoder.

    Args:
        learned: whether the encoder is pretrained, and its method `gentle`.
        pretrained: the same, with pretrained weights, trained for long on other data.
    """
    share, decay = (0.1, 0.8) if pretrained else (0.3, 0.9) if learned else (1.0, 1.0)
    return {"encoder_lr": share, "layer_decay": decay}


def minutes(device: torch.device) -> float:
    """The default budget of a run."""
    return 10.0 if device.type == "cpu" else 30.0
