"""The metadata of a file of weights: how its encoder is built, its input, and its origin."""

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
"""The key under which safetensors and ONNX files hold the metadata, as one JSON object."""
PARTS = {
    "encoder": dict, "decoding": dict, "kind": str, "seed": int, "lineage": list, "tokenizer": dict | None,
    "model": dict | None,
}  # fmt: skip
"""The parts of the metadata that are needed to build the encoder again."""


def describe(config: dict[str, Any], cls: type[Method], encoder: Encoder) -> dict[str, Any]:
    """Return the metadata that are needed to use the weights of a run, ready for JSON.

    "inputs" has the name, shape, values and preparation of each input of the encoder; "encoder" the name and arguments
    that build it again; "decoding" the size, rate, window ... of items; "kind" the kind of data that the method learned
    from; "lineage" the trainings so far, with the names of their data. "classes" are the class names of a classifier,
    "tokenizer" is the content of tokenizer.json for texts, "model" has the files that describe a Transformers model.

    Args:
        config: configuration of the run.
        cls: its method.
        encoder: the trained encoder.
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
    """One training as an entry of a lineage."""
    return {"method": config["method"], "data": config["data"], "digest": digest(encoder)}


def read(path: Path) -> dict[str, Any]:
    """Read the metadata that `describe` made from a safetensors file; nothing is executed, and no weights are read.

    Raises:
        UsageError: the file does not exist or lacks the metadata.
        WithholdError: the file is damaged.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}. Give a file that `withhold export --to safetensors` wrote.")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WithholdError(f"{path} is damaged or not a weights file ({error}). Export it again.") from error
    whole = isinstance(about, dict) and all(isinstance(about.get(part), kind) for part, kind in PARTS.items())
    stages = about["lineage"] if whole else []
    if not whole or not all(isinstance(one, dict) and {"method", "data", "digest"} <= set(one) for one in stages):
        raise UsageError(
            f"{path} does not say which encoder its weights belong to. Give a file that `withhold export --to "
            "safetensors` wrote, or a run's folder."
        )
    return about


def state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state for safetensors, which refuses tensors that share memory."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in module.state_dict().items()}


def digest(module: nn.Module) -> str:
    """Return a digest of a module's weights, 32 hexadecimal digits."""
    return hashlib.blake2b(save(state(module)), digest_size=16).hexdigest()


def write_weights(path: Path, module: nn.Module, about: dict[str, Any], **more: str) -> None:
    """Write a module's state as safetensors, with the metadata `about` and `more`, atomically."""
    with writing(path) as partial:  # safetensors' own file writer lets no other user read the file
        partial.write_bytes(save(state(module), {KEY: json.dumps(about), **more}))


def _described(model: str | None) -> dict[str, Any] | None:
    """Return the files in a folder that describe a model, by name."""
    if model is None:
        return None
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in Path(model).glob("*.json")}


def _without_tokenizer(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` without the path of the tokenizer, which differs between machines."""
    return {name: value for name, value in values.items() if name != "tokenizer"}


def fill(module: nn.Module, path: Path) -> None:
    """Load the weights in the file `path` into `module`. Raises: WithholdError: there are none that fit."""
    if not path.is_file():
        raise WithholdError(f"{path.parent} has no {path.name} yet. Finish its training with --resume.")
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WithholdError(
            f"{path} is damaged or from another version ({error}). Train or export it again."
        ) from error
