"""Models of timm as encoders of images, by their name there."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.adapters import Adapter
from withhold.nets.encoder import ImageEncoder


def builder(name: str) -> Callable[..., Any]:
    """The builder of an encoder for the model `name`; see `nets.register`."""
    return partial(images, name)


def size(name: str) -> int:
    """Image size in pixels on which the model was trained; 0 if unknown."""
    known = _timm(name).get_pretrained_cfg(name)
    return known.input_size[-1] if known else 0


def images(name: str, size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """The model as an encoder."""
    create_model = _timm(name).create_model
    inputs = 3 if pretrained else channels
    options = {"pretrained": pretrained and weights, "num_classes": 0, "in_chans": inputs}
    try:
        model = create_model(name, img_size=size, **options)
    except TypeError:  # convolutional networks take no img_size
        model = create_model(name, **options)
    scale = {key: model.pretrained_cfg[key] for key in ("mean", "std")} if pretrained else {}
    return Adapter(_ForwardFeatures(model), size, channels, inputs, name=f"timm:{name}", **scale)


class _ForwardFeatures(nn.Module):
    """The features of a model without its head: maps, or tokens without class and register tokens."""

    model: Any

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out = self.model.forward_features(x)
        if not isinstance(out, Tensor):
            raise UsageError(f"This {type(self.model).__name__} of timm has several outputs. Use another model.")
        if out.ndim == 3:
            return out[:, getattr(self.model, "num_prefix_tokens", 0) :]
        return out.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else out


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise UsageError(f"timm:{name} needs timm, which is not installed: pip install 'withhold[timm]'.") from error
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}. timm.list_models() lists all models.")
    return timm
