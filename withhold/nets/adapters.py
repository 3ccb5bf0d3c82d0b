"""Adapters that turn networks of other libraries, and your own modules, into encoders."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder, layers


class Adapter(ImageEncoder):
    """An encoder around a network that maps normalised images to [n, dim], maps [n, dim, h, w] or tokens [n, l, dim].

    `dim` and the grid are measured on an empty image. Leading tokens, such as the class token and registers, are
    dropped, so that the remaining ones fill the grid.

    Args:
        channels: 1 or 3, channels of the encoder's input; with 1, a network for colour sees lightness as grey.
        inputs: channels of the network's input.
        patch: pixels of a token's side, if known; otherwise the tokens are assumed to fill the image.
        mean, std: normalisation of the network's input, one value per channel.
        name: its name in messages; by default that of its class.

    Raises:
        UsageError: it cannot take images of this size.
    """

    def __init__(
        self,
        network: nn.Module,
        size: int,
        channels: int,
        inputs: int,
        patch: int | None = None,
        mean: Sequence[float] | float = 0.5,
        std: Sequence[float] | float = 0.25,
        name: str = "",
    ):
        super().__init__(dim=0, channels=channels, size=size, stride=size)
        # One value per channel of the network, not of the images: broadcasting then repeats a grey channel.
        self.mean = torch.as_tensor(mean).expand(inputs).reshape(inputs, 1, 1).clone()
        self.std = torch.as_tensor(std).expand(inputs).reshape(inputs, 1, 1).clone()
        self.network, self.patch, self.named = network, patch, name or type(network).__name__
        training = network.training
        network.eval()
        try:
            with torch.no_grad():
                maps = self.maps(torch.zeros(1, channels, size, size))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise UsageError(
                f"{self.named} cannot take images of {size} pixels ({first_line(error)}). Use another size."
            ) from error
        network.train(training)
        self.dim, self._grid = maps.shape[1], maps.shape[2]
        self.stride = math.ceil(size / self._grid)

    @property
    def grid(self) -> int:
        return self._grid

    def denormalize(self, x: Tensor) -> Tensor:
        """The inverse of `normalize`; with one channel and a network for colour, the mean of the network's channels."""
        images = super().denormalize(x)
        return images.mean(1, keepdim=True) if self.channels == 1 else images

    def stages(self):
        return stages(self.network)

    def encode(self, x: Tensor) -> Tensor:
        try:
            out = self.network(x)
        except (RuntimeError, ValueError, AssertionError) as error:
            if max(x.shape[2:]) == min(x.shape[2:]) == self.size:
                raise
            raise UsageError(
                f"{self.named} takes images of {self.size} pixels only ({first_line(error)}), and this method shows it "
                f"images of {x.shape[2]} x {x.shape[3]}. Use another encoder or another method."
            ) from error
        if out.ndim == 2:
            return out[:, :, None, None]
        if out.ndim == 3:
            grid = (x.shape[2] // self.patch, x.shape[3] // self.patch) if self.patch else (0, 0)
            if not 0 < math.prod(grid) <= out.shape[1]:  # the network merges tokens
                rows = min(out.shape[1], max(1, math.floor(math.sqrt(out.shape[1] * x.shape[2] / x.shape[3]))))
                grid = (rows, max(1, min(out.shape[1] // rows, round(rows * x.shape[3] / x.shape[2]))))
            return out[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)
        return out


def stages(network: nn.Module) -> list[list[nn.Module | nn.Parameter]]:
    """The stages of a network: what precedes its longest sequence of blocks, the blocks, and what follows."""
    rows = [part for part in network.modules() if isinstance(part, nn.ModuleList | nn.Sequential)]
    if not rows:
        return [[network]]
    blocks = max(rows, key=len)
    before, after = _around(network, blocks)
    found: list[list[nn.Module | nn.Parameter]] = [[]]
    for stage in (before, *layers(blocks), after):
        if _weighs(stage) and _weighs(found[-1]):
            found.append([])
        found[-1] += stage
    return found


def _weighs(stage: list[Any]) -> bool:
    """Whether a stage has weights; stages without weights are joined to the previous one."""
    return any(isinstance(part, nn.Parameter) or next(part.parameters(), None) is not None for part in stage)


def _around(network: nn.Module, blocks: nn.Module) -> tuple[list[Any], list[Any]]:
    """The parts of `network` before and after its `blocks`: modules, and parameters that it holds directly."""
    if network is blocks:
        return [], []
    before: list[Any] = list(network.parameters(recurse=False))
    after: list[Any] = []
    side = before
    for child in network.children():
        if any(part is blocks for part in child.modules()):
            first, last = _around(child, blocks)
            before += first
            after += last
            side = after
        else:
            side.append(child)
    return before, after


def adapt(module: nn.Module, size: int, channels: int) -> ImageEncoder:
    """An encoder from a module with a `dim` that maps images [n, channels, h, w] to [n, dim] or [n, dim, h, w].

    The module sees normalised images, (x - 0.5) / 0.25 for x in [0, 1].
    """
    if not isinstance(getattr(module, "dim", None), int):
        raise UsageError(
            f"{type(module).__name__} is not an encoder: it has no `dim`. Set it to the length of the feature vectors."
        )
    encoder = Adapter(module, size, channels, inputs=channels)
    if encoder.dim != module.dim:
        raise UsageError(
            f"{type(module).__name__} has dim={module.dim}, but returns {encoder.dim} features. Correct its `dim`."
        )
    return encoder


def lent(module: nn.Module, size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """A copy of your own module as an encoder: with its weights if `pretrained`, else randomly initialised.

    Initialisation calls `reset_parameters` of every part that has it. Weights that it leaves as they are, such as class
    tokens and positions, are drawn from a normal distribution with their mean and deviation.
    """
    copied = copy.deepcopy(module)
    if not pretrained:
        for part in copied.modules():
            if callable(reset := getattr(part, "reset_parameters", None)):
                reset()
            elif isinstance(part, nn.MultiheadAttention):
                part._reset_parameters()
        for weight, before in zip(copied.parameters(), module.parameters(), strict=True):
            if is_lazy(weight):
                continue
            if weight.requires_grad and weight.numel() > 1 and torch.equal(weight, before):
                weight.data.normal_().mul_(before.std()).add_(before.mean())
    if not isinstance(copied, ImageEncoder):
        return adapt(copied, size, channels)
    if (copied.size, copied.channels) != (size, channels):
        raise UsageError(
            f"This {type(module).__name__} takes images of {copied.channels} channels and {copied.size} pixels, but "
            f"these have {channels} channels and {size} pixels. Give size={copied.size}, or use another module."
        )
    return copied


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".:")
