"""Defaults that scale themselves: what to train, from the data, the budget and the hardware."""

import typing

import torch

from withhold import data, kinds
from withhold.methods import Method
from withhold.nets import AudioEncoder, AudioVisualEncoder, ConvNet, Encoder, ImageEncoder, TextEncoder, VideoEncoder
from withhold.orders import whole

GPU_SIZE = 224
ENCODERS = {known.kind: known.default for known in (VideoEncoder, AudioEncoder, TextEncoder, AudioVisualEncoder)}
"""What a method takes that asks for any encoder, by kind of data; for images the hardware decides."""


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(device: torch.device, encoder: Encoder) -> str:
    """bf16 where the hardware multiplies it (recent GPUs, CPUs with AMX or AVX512-BF16) and it pays, else float32.

    On a CPU it gains nothing in narrow layers, and its threads spin for each other where other work holds a core; and
    oneDNN's gradients of convolutions in space and time are not always finite in it.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        wide = not isinstance(encoder, ConvNet | VideoEncoder)
        fast = wide and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return "bf16-mixed" if fast else "32-true"


def encoder(method: type[Method], device: torch.device, kind: str) -> str:
    """The encoder that suits the method, the kind of data and the hardware."""
    needed = typing.get_type_hints(method.__init__).get("encoder")
    if isinstance(needed, type) and issubclass(needed, Encoder) and needed.default:
        return needed.default
    of_images = isinstance(needed, type) and issubclass(needed, ImageEncoder)  # which sees the frames of a video too
    if kind in ENCODERS and not of_images:
        return ENCODERS[kind]
    return "convnet" if device.type == "cpu" else "resnet18"


def size(measured: int, device: torch.device) -> int:
    """Pixels of the (square) input: what the images have, from 32 up to what the hardware bears."""
    return data.default_size(measured) if device.type == "cpu" else data.default_size(measured, most=GPU_SIZE)


def batch_size(method: type[Method], count: int, kind: str) -> int:
    """Items a step: what the method or the kind says; for small data, the largest power of two for ten an epoch.

    As many more as its order of items needs, for whole episodes.
    """
    few = min(method.batch_size or kinds.of(kind).batch, 2 ** (max(2, count // 10).bit_length() - 1), count)
    return whole(method.order, max(2, few))


def minutes(device: torch.device) -> float:
    """The budget of a run for which none was named."""
    return 10.0 if device.type == "cpu" else 30.0
