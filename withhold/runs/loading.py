"""Loading an encoder from a run's folder, an exported file, or the name of an encoder."""

import json
import logging
import os
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import nn

from withhold import data, nets
from withhold import methods as registry
from withhold.errors import UsageError, suggestion
from withhold.files import writing
from withhold.report.report import inputs
from withhold.runs.build import address, suited_size
from withhold.runs.embedder import Embedder, named_file
from withhold.runs.metadata import read
from withhold.runs.run import Run
from withhold.runs.told import read_told

log = logging.getLogger("withhold")


def load(
    name: str | Path, method: str | None = None, encoder: str | nn.Module | None = None, **decoding: Any
) -> Embedder:
    """Load the `Run` in a folder, an exported encoder, or an encoder by its name.

    An encoder given by name has its pretrained weights if there are any, otherwise random ones.

    Args:
        name: a run's folder; a file encoder.safetensors of a run or of `withhold export`; or an encoder's name, as
            `--encoder` takes it: `efficientnet-lite0`, `hf:NAME`, `timm:NAME`, `./mine.py` ...
        method, encoder: the Python files with which it was made on another machine, if any; or the module that was its
            encoder.
        decoding: for an encoder given by name, how data are decoded, such as size=224. What is left out is chosen for
            the first data that it sees.

    Raises:
        UsageError: there is nothing of that name, or its decoding differs from the given one.
    """
    found = find(name, method, encoder)
    if found is None:
        return Named(str(name), **decoding)
    for field, value in decoding.items():
        own = found.config["decoding"].get(field)
        if value != own:
            raise UsageError(
                f"{name} takes data with {field} {own}, not {value}. Remove {field}, or choose another encoder."
            )
    return found


def find(name: str | Path, method: str | None = None, encoder: str | nn.Module | None = None) -> Embedder | None:
    """Return the run or the exported encoder called `name`; None if `name` can only be an encoder's name.

    Raises:
        UsageError: it is a file or a folder, but not a run or an encoder.
    """
    text, path = str(name), Path(name)
    if path.suffix == ".safetensors" and not path.is_dir():
        return Exported(path, encoder)
    if path.is_file() and path.suffix != ".py":
        raise UsageError(
            f"{name} is not an encoder file. Give the encoder.safetensors of a run, or a file that `withhold export "
            "--to safetensors` wrote."
        )
    an_encoder = text in nets.names() or text.endswith(".py") or ":" in text
    if (path / "config.json").is_file() or (not an_encoder and (path.exists() or os.sep in text)):
        return Run(name, method, encoder)
    return None


def _unpacked(kind: str, files: dict[str, Any]) -> Path:
    """Write JSON files of these names and contents to a folder in the cache and return it."""
    packed = {name: json.dumps(content, ensure_ascii=False).encode() for name, content in files.items()}
    folder = data.cache.root() / kind / blake2b(repr(sorted(packed.items())).encode(), digest_size=16).hexdigest()
    for name, content in packed.items():
        with writing(folder / os.path.basename(name)) as partial:
            partial.write_bytes(content)
    return folder


class Exported(Embedder):
    """An encoder from a safetensors file with metadata: a run's encoder.safetensors, or an exported file."""

    def __init__(self, path: Path, encoder: str | nn.Module | None = None):
        self.name, self.weights, self.config = str(path), path, read(path)
        self.kind, self.seed = self.config["kind"], self.config["seed"]
        own = self.config["encoder"]
        own |= {"name": named_file(self.name, str(own.get("name")), encoder), "pretrained": bool(own.get("pretrained"))}
        if self.config["model"] is not None:
            own["model"] = str(_unpacked("models", self.config["model"]))
        taken = nets.takes(address(own))
        if self.config["tokenizer"] is not None:
            kept = _unpacked("tokenizers", {"tokenizer.json": self.config["tokenizer"]}) / "tokenizer.json"
            own["tokenizer"] = self.config["decoding"]["tokenizer"] = str(kept)
        if lacking := [field for field in taken if field not in own]:
            raise UsageError(f"{path} lacks the {lacking[0]} of its encoder. Export it again.")
        self.config["encoder"] = {n: own[n] for n in ("name", "pretrained", "model", *taken) if n in own}

    def __repr__(self) -> str:
        return f"Exported({self.name!r}: {self.config['encoder']['name']})"

    def told_items(self):
        """What is listed in the folder of the file, which may be that of a run."""
        folder = self.weights.parent
        listed = read_told(folder) if (folder / "config.json").is_file() else []
        own = [stage["method"] for stage in self.lineage if stage["method"] in registry.names()]
        taught = [name for name in own if any(need.teaches for need in registry.find(name).needs.values())]
        if taught and not listed:
            log.warning(
                "%s was trained on labels by %s, and the file does not list the labelled items: accuracy on them is "
                "not valid. Give the run's folder, which leaves them out", self.name, taught[-1],
            )  # fmt: skip
        return listed


class Named(Embedder):
    """An encoder given by name, with its pretrained weights if there are any, otherwise with random ones.

    Its input settings are those of `decoding`; missing ones are chosen for the first data.

    Args:
        name: as `withhold.nets.build` takes it.
        decoding: how data are decoded, such as the size of images.

    Raises:
        UsageError: the encoder is unknown, it reads texts, or `decoding` does not apply to its kind of data.
    """

    weights, seed = None, 0

    def __init__(self, name: str, **decoding: Any):
        self.name, self.kind, self._given = name, nets.kind(name), decoding
        if "text" in self.kind:
            raise UsageError(
                f"{name} reads texts and needs the tokenizer of a trained run. Give a run's folder, or its "
                "encoder.safetensors."
            )
        pretrained = nets.has_pretrained(name)
        self.row = "pretrained" if pretrained else "untrained"
        self.config = {"encoder": {"name": name, "pretrained": pretrained}, "decoding": {}, "lineage": []}
        self._kinds = ["image", "video"] if self.kind == "image" else data.alone(self.kind)
        known = {field for kind in self._kinds for field in data.takes(kind)}
        for field in decoding:
            if field not in known:
                raise UsageError(f"{name} has no input setting {field!r}: {suggestion(field, known)}")
        if set(nets.takes(name)) <= set(decoding):
            self._settle(next(kind for kind in self._kinds if set(decoding) <= set(data.takes(kind))), {})

    def __repr__(self) -> str:
        return f"Named({self.name!r}: {self.row})"

    @cached_property
    def encoder(self):
        if not self.config["decoding"]:
            raise UsageError(
                f"{self.name} is built when it sees its first data. Embed some data first, or give its input settings: "
                f"withhold.load({self.name!r}, {'=..., '.join(nets.takes(self.name))}=...)."
            )
        return super().encoder

    def suit(self, source: Any) -> None:
        if not self.config["decoding"]:
            kind = self.kind_of(source)
            shape = data.measure(source, kind)
            rate = min(shape.rate or data.MOST_RATE, data.MOST_RATE)
            size = suited_size(shape.size, self.name, self.row == "pretrained")
            self._settle(kind, {"size": size, "channels": shape.channels or 3, "rate": rate})

    def _settle(self, kind: str, suited: dict[str, Any]) -> None:
        """Fix the decoding of the data, and with it the input of the encoder."""
        known = data.takes(kind) | suited | self._given
        self.config["decoding"] = {field: known[field] for field in data.takes(kind)}
        self.config["encoder"] |= {field: known[field] for field in nets.takes(self.name)}
        random = "randomly initialised: a control, not a trained encoder"
        weights = "pretrained weights" if self.row == "pretrained" else random
        log.info("%s for %s; %s", self.name, inputs(self.config), weights)

    def kind_of(self, source: Any) -> str:
        return data.holds(source, self._kinds)

    def controls(self):
        return {} if self.row == "untrained" else super().controls()

    def learned(self):
        return None if self.row == "untrained" else super().learned()
