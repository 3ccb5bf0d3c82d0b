"""Defaults that scale themselves: what to train, from the data, the budget and the hardware."""

import math
import typing
from typing import Any

import torch

from withhold import data, kinds
from withhold.methods import Method
from withhold.nets import AudioEncoder, AudioVisualEncoder, ConvNet, Encoder, ImageEncoder, TextEncoder, VideoEncoder
from withhold.orders import whole

GPU_SIZE, CPU_ENLARGED = 224, 128
SIZES = (32, 48, 64, 96, 128, 160)
"""Pixels to choose from where the time does not hold enough of images as they are."""
SMALL, STEPS, PASSES = 64, 1000, 20
"""What is enough: so many steps, of batches so small where need be, or passes over the data."""
ENCODERS = {known.kind: known.default for known in (VideoEncoder, AudioEncoder, TextEncoder, AudioVisualEncoder)}
"""What a method takes that asks for any encoder, by kind of data; for images the hardware decides."""


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precisions(device: torch.device, encoder: Encoder) -> list[str]:
    """What may be the fastest, the likeliest first: bf16 where the hardware multiplies it, else float32.

    On a CPU (with AMX or AVX512-BF16) either may be: threads spin for each other in bf16 where other work holds a core,
    and narrow layers gain less. For convolutions in space and time it is out: oneDNN's gradients are not always finite.
    """
    if device.type == "cuda":
        return ["bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"]
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if not fast or isinstance(encoder, VideoEncoder):
        return ["32-true"]
    return ["32-true", "bf16-mixed"] if isinstance(encoder, ConvNet) else ["bf16-mixed", "32-true"]


def precision(device: torch.device, encoder: Encoder) -> str:
    """What is taken where nothing is timed."""
    return precisions(device, encoder)[0]


def encoder(method: type[Method], device: torch.device, kind: str) -> str:
    """The encoder that suits the method, the kind of data and the hardware."""
    needed = typing.get_type_hints(method.__init__).get("encoder")
    if isinstance(needed, type) and issubclass(needed, Encoder) and needed.default:
        return needed.default
    of_images = isinstance(needed, type) and issubclass(needed, ImageEncoder)  # which sees the frames of a video too
    if kind in ENCODERS and not of_images:
        return ENCODERS[kind]
    return "convnet" if device.type == "cpu" else "resnet18"


def size(measured: int, device: torch.device, published: int = 0) -> int:
    """Pixels of the (square) input: what the images have, from 32 up to what the hardware bears.

    Args:
        published: what the encoder's published weights were trained on, for which smaller images are enlarged; 0 for
            fresh weights.
    """
    if published:
        return published if device.type == "cuda" else min(published, max(data.default_size(measured), CPU_ENLARGED))
    return data.default_size(measured) if device.type == "cpu" else data.default_size(measured, most=GPU_SIZE)


def enough(steps: float, passes: float) -> bool:
    """Whether a training of so many steps and passes over the data can come to something."""
    return steps >= STEPS or passes >= PASSES


def batch_size(method: type[Method], count: int, kind: str, items: float = math.inf) -> int:
    """Items a step: what the method or the kind says; for small data, the largest power of two for ten an epoch.

    A loss that compares items learns little from a few: two steps an epoch are enough for it. Where the time holds
    fewer than a thousand such steps, fewer items, down to 64. As many more as its order of items needs, for whole
    episodes.

    Args:
        items: what the time holds, counted with repeats.
    """
    least = count // (2 if method.compares else 10)
    few = min(method.batch_size or kinds.of(kind).batch, 2 ** (max(2, least).bit_length() - 1), count)
    if items < STEPS * few:
        few = min(few, max(SMALL, 2 ** (int(items / STEPS).bit_length() - 1)))
    return whole(method.order, max(2, few))


def images(count: int, device: torch.device) -> int:
    """How many items a network should see, counted with repeats, that learns from `count` labelled ones.

    Each 100 times, until these are 20,000, and 30 times of more; at most 100,000 on a CPU or 2,000,000 on a GPU.
    """
    return min(max(30 * count, min(100 * count, 20_000)), 100_000 if device.type == "cpu" else 2_000_000)


def layerwise(learned: bool, published: bool = False) -> dict[str, Any]:
    """The learning rate of an encoder as a share, and how it falls from stage to stage: low where it has learned.

    Args:
        published: whether it has learned long, and from other data.
    """
    share, decay = (0.1, 0.8) if published else (0.3, 0.9) if learned else (1.0, 1.0)
    return {"encoder_lr": share, "layer_decay": decay}


def minutes(device: torch.device) -> float:
    """The budget of a run for which none was named."""
    return 10.0 if device.type == "cpu" else 30.0
