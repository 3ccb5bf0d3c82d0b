"""Models of Transformers as encoders, of images or of texts: by a name on the hub, or from a local folder."""

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.adapters import Adapter, first_line, measured, stages
from withhold.nets.encoder import ImageEncoder
from withhold.nets.text import TextEncoder


def builder(name: str) -> Callable[..., Any]:
    """What makes an encoder of the model `name`, as `nets.register` describes it."""
    return partial(texts if hasattr(_config(name), "vocab_size") else images, name)


def size(name: str) -> int:
    """Pixels of what a vision model was trained on, as its processor says, or else its configuration; 0 if neither."""
    said, config = _processor(name), _config(name)
    crop = said.get("crop_size") or said.get("size") or {}
    found = crop.get("height", crop.get("shortest_edge")) if isinstance(crop, dict) else crop
    found = found or getattr(getattr(config, "vision_config", config), "image_size", 0)
    return found if isinstance(found, int) else 0


def images(name: str, size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """A vision model; of one that also reads texts, the part that sees."""
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
    return measured(
        f"hf:{name}",
        lambda: Adapter(
            _LastHiddenState(model, said.get("do_flip_channel_order", False)), size, channels, inputs, patch, **scale
        ),
        size,
    )


def _normalization(said: dict[str, Any], inputs: int) -> dict[str, Any]:
    """The mean and deviation, of pixels in [0, 1], that a model's processor normalises its `inputs` channels with."""
    unit = 255 * said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 255  # what white becomes
    mean, std = (said.get(f"image_{name}") for name in ("mean", "std"))
    if not said.get("do_normalize", bool(mean and std)):
        mean, std = [0.0] * inputs, [1.0] * inputs
    if not (mean and std and len(mean) == inputs):
        return {}
    return {"mean": [value / unit for value in mean], "std": [value / unit for value in std]}


def texts(name: str, tokenizer: str, tokens: int, pretrained: bool = False, weights: bool = True) -> TextEncoder:
    """A language model, with the tokenizer that it was trained with."""
    return TextAdapter(f"hf:{name}", _model(name, _config(name), pretrained and weights), tokenizer, tokens)


def keep(name: str, folder: Path) -> None:
    """Write what `builder` needs into a folder, which then stands for the model, but for its weights."""
    _config(name).save_pretrained(folder)
    if processor := _processor(name):
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2), encoding="utf-8")


class TextAdapter(TextEncoder):
    """A model of token numbers, whose last hidden states are the features of the tokens; padding counts for nothing.

    A text has the features of its own tokens: none stand for its beginning and its end.

    Args:
        name: what a person called it.
        tokens: in a window.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: str, tokens: int):
        config: Any = model.config
        super().__init__(config.hidden_size, tokenizer)
        self.model, self.tokens = model, tokens
        if self.vocabulary > config.vocab_size:
            raise UsageError(
                f"{name} knows {config.vocab_size:,} tokens, and the tokenizer has {self.vocabulary:,}: leave "
                "tokenizer=... out, and it takes its own."
            )
        most = getattr(config, "max_position_embeddings", tokens)
        if tokens > most:
            raise UsageError(f"{name} reads {most} tokens at once, not {tokens}: give tokens={most}.")

    def take(self, item):
        """A text -> its windows [n, tokens], padded."""
        return nn.utils.rnn.pad_sequence(super().take(item)[0].split(self.tokens), batch_first=True)

    def maps(self, tokens):
        seen = self.counts(tokens)
        seen = seen | ~seen.any(1, keepdim=True)  # attention to nothing at all is not a number
        return self.model(input_ids=tokens.long(), attention_mask=seen.long()).last_hidden_state.transpose(1, 2)

    def counts(self, tokens):
        return tokens != 0

    def stages(self):
        return stages(self.model)


class _LastHiddenState(nn.Module):
    """What a model of Transformers gives beneath its heads, for images of any size that it can bear.

    Args:
        reverse: whether it sees blue first.
    """

    def __init__(self, model: nn.Module, reverse: bool = False):
        super().__init__()
        self.model, self.reverse = model, reverse
        resizable = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if resizable else {}

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x.flip(1) if self.reverse else x, **self.options).last_hidden_state


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
    """How a vision model's images are prepared; nothing of a language model."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        return ImageProcessingMixin.get_image_processor_dict(name)[0]
    except OSError:
        return {}


def _model(name: str, config: Any, weights: bool) -> Any:
    """The model without a head: with its published weights, or as `config` describes it with fresh ones."""
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
            part.pooler = None  # a head, which nothing here asks
    return model
