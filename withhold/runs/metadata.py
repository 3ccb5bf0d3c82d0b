"""What a file of weights says of itself: how its encoder is built, what it takes, and where it comes from."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from withhold import kinds as traits
from withhold.errors import UsageError, WithholdError
from withhold.files import writing
from withhold.methods import Classifier, Encoder, Method
from withhold.runs.build import kinds

KEY = "withhold"
"""Under which safetensors and ONNX files hold it, as one JSON object."""
PARTS = {
    "encoder": dict, "decoding": dict, "kind": str, "seed": int, "lineage": list, "tokenizer": dict | None,
    "model": dict | None,
}  # fmt: skip
"""What a file needs for its encoder to be built again."""


def describe(config: dict[str, Any], cls: type[Method], encoder: Encoder) -> dict[str, Any]:
    """What the weights of a run need beside them to be used, ready for JSON.

    "inputs" has for each input of the encoder its name, shape, values, and how an item becomes one; "encoder" the name
    and the arguments by which the encoder is built again; "decoding" the size, rate, window ... of items; "kind" what
    the method learned from; "lineage" the trainings so far, with the names of their data. Where the method has learned
    names of classes there are "classes", of texts the content of their tokenizer.json, of a model of Transformers the
    files that describe it, by name.

    Args:
        config: of the run.
        cls: its method.
        encoder: what it has trained.
    """
    decoding = _without_tokenizer(config["decoding"])
    stages = [*config.get("lineage", []), stage(config, encoder)]
    tokenizer = config["decoding"].get("tokenizer")
    return {
        "version": config["withhold"],
        "kind": next(iter(kinds(cls, config["decoding"]).values())),
        "inputs": traits.of(encoder.kind).inputs(decoding),
        "features": encoder.dim,
        "classes": list(config["classes"]) if issubclass(cls, Classifier) else None,
        "encoder": {n: v for n, v in _without_tokenizer(config["encoder"]).items() if n not in ("start", "model")},
        "model": _described(config["encoder"].get("model")),
        "decoding": decoding,
        "tokenizer": tokenizer and json.loads(Path(tokenizer).read_text(encoding="utf-8")),
        "method": config["method"],
        "parameters": _without_tokenizer(config["parameters"]),
        "seed": config["training"]["seed"],
        "lineage": [one | {"data": [os.path.basename(name) or name for name in one["data"]]} for one in stages],
        "digest": stages[-1]["digest"],
    }


def stage(config: dict[str, Any], encoder: Encoder) -> dict[str, Any]:
    """A training, as a lineage lists it."""
    return {"method": config["method"], "data": config["data"], "digest": digest(encoder)}


def read(path: Path) -> dict[str, Any]:
    """What `describe` made of the encoder in a safetensors file; nothing is executed, and no weights are read.

    Raises:
        UsageError: there is no such file, or it does not say what it holds.
        WithholdError: it is damaged.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}: give one that `withhold export --to safetensors` wrote.")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WithholdError(f"{path} is damaged or no file of weights ({error}): export it again.") from error
    whole = isinstance(about, dict) and all(isinstance(about.get(part), kind) for part, kind in PARTS.items())
    stages = about["lineage"] if whole else []
    if not whole or not all(isinstance(one, dict) and {"method", "data", "digest"} <= set(one) for one in stages):
        raise UsageError(
            f"{path} does not say which encoder its weights are of: give a file that `withhold export --to "
            "safetensors` wrote, or a run's folder."
        )
    return about


def state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state as safetensors takes it, which refuses tensors that share memory."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in module.state_dict().items()}


def digest(module: nn.Module) -> str:
    """What tells a module's weights from others, in 32 hexadecimal digits."""
    return hashlib.blake2b(save(state(module)), digest_size=16).hexdigest()


def write_weights(path: Path, module: nn.Module, about: dict[str, Any], **more: str) -> None:
    """Write a module's state as safetensors with what is known of it, and `more` metadata, whole or not at all."""
    with writing(path) as partial:  # whose own way to a file lets no one else read it
        partial.write_bytes(save(state(module), {KEY: json.dumps(about), **more}))


def _described(model: str | None) -> dict[str, Any] | None:
    """The files in a folder that describe a model, by name."""
    if model is None:
        return None
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in Path(model).glob("*.json")}


def _without_tokenizer(values: dict[str, Any]) -> dict[str, Any]:
    """Without the path of a tokenizer, which is another one elsewhere."""
    return {name: value for name, value in values.items() if name != "tokenizer"}


def fill(module: nn.Module, path: Path) -> None:
    """Load the weights in the file `path` into `module`. Raises: WithholdError, where there are none that fit."""
    if not path.is_file():
        raise WithholdError(f"{path.parent} has no {path.name} yet: finish its training with --resume.")
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WithholdError(f"{path} is damaged or of another version ({error}): train or export it again.") from error
