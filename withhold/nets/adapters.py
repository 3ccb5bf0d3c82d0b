"""Other libraries' networks, and anybody's own, as encoders."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder, layers


class Adapter(ImageEncoder):
    """A network that maps normalised images to features [n, dim], a map [n, dim, h, w] or tokens [n, l, dim].

    What `dim` and the grid are is measured, on an empty image. Of tokens the first ones, those of the class and the
    registers, are left out, so that the rest fill the grid.

    Args:
        channels: 1 or 3, what the encoder sees; a network for colour sees lightness as grey.
        inputs: channels that the network takes.
        patch: pixels of a token's side, where the network says so; otherwise the tokens are taken to fill a square.
        mean, std: what the network's input is normalised with, a channel each.
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
    ):
        super().__init__(dim=0, channels=channels, size=size, stride=size)
        # A channel each of the network, not of the images: normalising then also repeats the one for the other.
        self.mean = torch.as_tensor(mean).expand(inputs).reshape(inputs, 1, 1).clone()
        self.std = torch.as_tensor(std).expand(inputs).reshape(inputs, 1, 1).clone()
        self.network, self.patch = network, patch
        training = network.training
        network.eval()
        with torch.no_grad():
            maps = self.maps(torch.zeros(1, channels, size, size))
        network.train(training)
        self.dim, self._grid = maps.shape[1], maps.shape[2]
        self.stride = math.ceil(size / self._grid)

    @property
    def grid(self) -> int:
        return self._grid

    def denormalize(self, x: Tensor) -> Tensor:
        """As for any encoder; for lightness of a network for colour, the grey between what its channels make of it."""
        images = super().denormalize(x)
        return images.mean(1, keepdim=True) if self.channels == 1 else images

    def stages(self):
        return stages(self.network)

    def encode(self, x: Tensor) -> Tensor:
        out = self.network(x)
        if out.ndim == 2:
            return out[:, :, None, None]
        if out.ndim == 3:
            grid = (x.shape[2] // self.patch, x.shape[3] // self.patch) if self.patch else (0, 0)
            if not 0 < math.prod(grid) <= out.shape[1]:  # tokens were merged on the way
                grid = (math.isqrt(out.shape[1]),) * 2
            return out[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)
        return out


def stages(network: nn.Module) -> list[list[nn.Module | nn.Parameter]]:
    """The longest row of blocks inside a network, what comes before it, and what comes after."""
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
    """Whether a stage has weights; what has none belongs to the one before it."""
    return any(isinstance(part, nn.Parameter) or next(part.parameters(), None) is not None for part in stage)


def _around(network: nn.Module, blocks: nn.Module) -> tuple[list[Any], list[Any]]:
    """What `network` has before and after the blocks inside it: modules, and parameters that no module holds."""
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
    """Anybody's own `module` with a `dim`, which maps images [n, channels, h, w] to [n, dim] or [n, dim, h, w]."""
    if not isinstance(getattr(module, "dim", None), int):
        raise UsageError(f"{type(module).__name__} is no encoder: give it a `dim`, the length of its feature vectors.")
    encoder = measured(type(module).__name__, lambda: Adapter(module, size, channels, inputs=channels), size)
    if encoder.dim != module.dim:
        raise UsageError(
            f"{type(module).__name__} says that its dim is {module.dim}, but it gives {encoder.dim} features."
        )
    return encoder


def lent(module: nn.Module, size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """A copy of somebody's own module as an encoder: with its weights where it is `pretrained`, else with fresh ones.

    Fresh are the parts that torch knows how to reset.
    """
    copied = copy.deepcopy(module)
    if not pretrained:
        for part in copied.modules():
            if callable(reset := getattr(part, "reset_parameters", None)):
                reset()
    if not isinstance(copied, ImageEncoder):
        return adapt(copied, size, channels)
    if (copied.size, copied.channels) != (size, channels):
        raise UsageError(
            f"This {type(module).__name__} is built for {copied.channels} channels of {copied.size} pixels, and there "
            f"are {channels} of {size}: give size={copied.size}, or another module."
        )
    return copied


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise UsageError(f"timm:{name} needs timm, which is not installed: pip install 'withhold[timm]'.") from error
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}: look it up with timm.list_models().")
    return timm


def timm_size(name: str) -> int:
    """Pixels of what a model of timm was trained on; 0 if unknown."""
    known = _timm(name).get_pretrained_cfg(name)
    return known.input_size[-1] if known else 0


def timm(name: str, size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """A model of timm, by its name there."""
    create_model = _timm(name).create_model
    inputs = 3 if pretrained else channels
    options = {"pretrained": pretrained and weights, "num_classes": 0, "in_chans": inputs}
    try:
        model = create_model(name, img_size=size, **options)
    except TypeError:  # a convolutional network, which is built for any size
        model = create_model(name, **options)
    scale = {key: model.pretrained_cfg[key] for key in ("mean", "std")} if pretrained else {}
    return measured(f"timm:{name}", lambda: Adapter(_ForwardFeatures(model), size, channels, inputs, **scale), size)


class _ForwardFeatures(nn.Module):
    """What a model of timm gives beneath its head: maps, or tokens without those of class and registers."""

    model: Any

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out = self.model.forward_features(x)
        if out.ndim == 3:
            return out[:, self.model.num_prefix_tokens :]
        return out.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else out


def measured(name: str, adapt: Callable[[], Adapter], size: int) -> Adapter:
    """The adapter, whose construction tries the network out."""
    try:
        return adapt()
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise UsageError(
            f"{name} cannot take images of {size} pixels ({first_line(error)}): use another size."
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".:")
