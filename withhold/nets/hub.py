"""Transformers models as encoders of images or texts, by their name on the Hugging Face Hub or from a local folder."""

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.adapters import Adapter, first_line, stages
from withhold.nets.encoder import ImageEncoder
from withhold.nets.text import TextEncoder


def builder(name: str) -> Callable[..., Any]:
    """The builder of an encoder for the model `name`; see `nets.register`."""
    config = _config(name)  # BEiT has a vocabulary, too: of visual tokens
    reads = hasattr(config, "vocab_size") and not hasattr(config, "image_size")
    return partial(texts if reads else images, name)


def size(name: str) -> int:
    """Image size on which a vision model was trained, from its processor or else its configuration; 0 if unknown."""
    said, config = _processor(name), _config(name)
    crop = said.get("crop_size") or said.get("size") or {}
    found = crop.get("height", crop.get("shortest_edge")) if isinstance(crop, dict) else crop
    found = found or getattr(getattr(config, "vision_config", config), "image_size", 0)
    return found if isinstance(found, int) else 0


def images(name: str, size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """A vision model as an encoder; of a model of images and texts, its vision part."""
    config = _config(name)
    if not pretrained:
        config = getattr(config, "vision_config", config)
        config.image_size, config.num_channels = size, channels
    model = _model(name, config, pretrained and weights)
    model = getattr(model, "vision_model", model)
    inputs = getattr(model.config, "num_channels", 3)
    said = _processor(name)
    scale = _normalization(said, inputs) if said else {}
    patch = getattr(model.config, "patch_size", None)
    patch = patch if isinstance(patch, int) else None
    network = _LastHiddenState(model, said.get("do_flip_channel_order", False))
    return Adapter(network, size, channels, inputs, patch, name=f"hf:{name}", **scale)


def _normalization(said: dict[str, Any], inputs: int) -> dict[str, Any]:
    """The mean and standard deviation with which a model's processor normalises `inputs` channels in [0, 1]."""
    unit = 255 * said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 255  # the value of white
    mean, std = (said.get(f"image_{name}") for name in ("mean", "std"))
    if not said.get("do_normalize", bool(mean and std)):
        mean, std = [0.0] * inputs, [1.0] * inputs
    if not (mean and std and len(mean) == inputs):
        return {}
    return {"mean": [value / unit for value in mean], "std": [value / unit for value in std]}


def texts(name: str, tokenizer: str, tokens: int, pretrained: bool = False, weights: bool = True) -> TextEncoder:
    """A language model as an encoder, with its own tokenizer."""
    return TextAdapter(f"hf:{name}", _model(name, _config(name), pretrained and weights), tokenizer, tokens)


def keep(name: str, folder: Path) -> None:
    """Write the configuration that `builder` needs into a folder, which can then replace `name`, except for weights."""
    _config(name).save_pretrained(folder)
    if processor := _processor(name):
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2), encoding="utf-8")


class TextAdapter(TextEncoder):
    """A language model; the features of tokens are its last hidden states, and padding is masked.

    No special tokens mark the beginning and the end of a text.

    Args:
        name: the name given by the user, for messages.
        tokens: tokens in a window.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: str, tokens: int):
        config: Any = model.config
        super().__init__(config.hidden_size, tokenizer, tokens)
        self.model = model
        if self.vocabulary > config.vocab_size:
            raise UsageError(
                f"{name} has {config.vocab_size:,} tokens, but the tokenizer has {self.vocabulary:,}. Leave "
                "tokenizer=... out, to use the model's own."
            )
        most = getattr(config, "max_position_embeddings", tokens)
        if tokens > most:
            raise UsageError(f"{name} reads at most {most} tokens at once, not {tokens}. Give tokens={most}.")

    def maps(self, tokens):
        seen = self.attended(tokens)
        return self.model(input_ids=tokens.long(), attention_mask=seen.long()).last_hidden_state.transpose(1, 2)

    def stages(self):
        return stages(self.model)


class _LastHiddenState(nn.Module):
    """The last hidden state of a Transformers model, for images of any size that it supports.

    Args:
        reverse: whether the model takes channels in the order BGR.
    """

    def __init__(self, model: Any, reverse: bool = False):
        super().__init__()
        self.model, self.reverse = model, reverse
        resizable = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if resizable else {}
        self.patch: int = model.config.patch_size if hasattr(model.config, "mask_ratio") else 0
        if self.patch:  # a masked autoencoder shall see all patches
            model.config.mask_ratio = 0.0

    def forward(self, x: Tensor) -> Tensor:
        order = {}
        if self.patch:  # it would shuffle them
            count = (x.shape[2] // self.patch) * (x.shape[3] // self.patch)
            order = {"noise": torch.arange(count, device=x.device).expand(len(x), count)}
        return self.model(pixel_values=x.flip(1) if self.reverse else x, **self.options, **order).last_hidden_state


def _config(name: str) -> Any:
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise UsageError(f"hf:{name} needs Transformers: pip install 'withhold[transformers]'.") from error
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"Transformers has no model hf:{name} ({first_line(error)}): check the name.") from error


def _processor(name: str) -> dict[str, Any]:
    """The image processor's configuration of a vision model; empty for a language model."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        return ImageProcessingMixin.get_image_processor_dict(name)[0]
    except OSError:
        return {}


def _model(name: str, config: Any, weights: bool) -> Any:
    """The model without a head: with its pretrained weights, or built from `config` and randomly initialised."""
    from transformers import AutoModel

    try:
        if weights:
            model = AutoModel.from_pretrained(name, trust_remote_code=False)
        else:
            model = AutoModel.from_config(config, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"Transformers has no model hf:{name} ({first_line(error)}): check the name.") from error
    part: Any
    for part in (model, getattr(model, "vision_model", None)):
        pooler = getattr(part, "pooler", None)
        if isinstance(pooler, nn.Module) and next(pooler.parameters(), None) is not None:
            part.pooler = None  # a head, which is not used here
    return model.float()  # it may be saved in half precision
