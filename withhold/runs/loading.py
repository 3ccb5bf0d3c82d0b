"""What a person names where an encoder is wanted: a run's folder, an exported file, or the name of an encoder."""

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

log = logging.getLogger("withhold")


def load(
    name: str | Path, method: str | None = None, encoder: str | nn.Module | None = None, **decoding: Any
) -> Embedder:
    """What `name` stands for: the `Run` in a folder, an encoder that was exported, or one as it is.

    An encoder by its name has published weights where there are some, and fresh ones otherwise.

    Args:
        name: a run's folder; a file encoder.safetensors, of a run or of `withhold export`; or an encoder's name, as
            `--encoder` takes it: `efficientnet-lite0`, `hf:NAME`, `timm:NAME`, `./mine.py` ...
        method, encoder: the Python files with which it was made elsewhere, if any; or a module that was its encoder.
        decoding: for an encoder by its name, what data are to be decoded to, such as size=224. What is left out suits
            the first data that it sees.

    Raises:
        UsageError: there is nothing of that name, or it has another size than the one given.
    """
    found = find(name, method, encoder)
    if found is None:
        return Named(str(name), **decoding)
    for field, value in decoding.items():
        own = found.config["decoding"].get(field)
        if value != own:
            raise UsageError(f"{name} takes data with {field} {own}, not {value}: leave that out, or name another one.")
    return found


def find(name: str | Path, method: str | None = None, encoder: str | nn.Module | None = None) -> Embedder | None:
    """The run or the exported encoder called `name`; None where that can only be an encoder's name.

    Raises:
        UsageError: it is a file or a folder, but no run or encoder.
    """
    text, path = str(name), Path(name)
    if path.suffix == ".safetensors" and not path.is_dir():
        return Exported(path, encoder)
    if path.is_file() and path.suffix != ".py":
        raise UsageError(
            f"{name} is no encoder that can be loaded: give the encoder.safetensors of its run, or what `withhold "
            "export --to safetensors` wrote."
        )
    an_encoder = text in nets.names() or text.endswith(".py") or ":" in text
    if (path / "config.json").is_file() or (not an_encoder and (path.exists() or os.sep in text)):
        return Run(name, method, encoder)
    return None


def _unpacked(kind: str, files: dict[str, Any]) -> Path:
    """A folder in the cache with JSON files of these names and contents."""
    packed = {name: json.dumps(content, ensure_ascii=False).encode() for name, content in files.items()}
    folder = data.cache.root() / kind / blake2b(repr(sorted(packed.items())).encode(), digest_size=16).hexdigest()
    for name, content in packed.items():
        with writing(folder / os.path.basename(name)) as partial:
            partial.write_bytes(content)
    return folder


class Exported(Embedder):
    """An encoder from a safetensors file that says what it is: a run's encoder.safetensors, or an exported one."""

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
            raise UsageError(f"{path} does not say what {lacking[0]} its encoder has: export it again.")
        self.config["encoder"] = {n: own[n] for n in ("name", "pretrained", "model", *taken) if n in own}

    def __repr__(self) -> str:
        return f"Exported({self.name!r}: {self.config['encoder']['name']})"

    def unseen(self, samples):
        own = [stage["method"] for stage in self.lineage if stage["method"] in registry.names()]
        if taught := [name for name in own if any(need.teaches for need in registry.find(name).needs.values())]:
            log.warning(
                "%s was told labels by %s and does not say of which items: no accuracy on these counts; the folder of "
                "its run knows them, and leaves them out", self.name, taught[-1],
            )  # fmt: skip
        return samples


class Named(Embedder):
    """An encoder as it is: with published weights where there are some, else with fresh ones.

    The first data decide what it is built for, where `decoding` does not.

    Args:
        name: as `withhold.nets.build` takes it.
        decoding: what data are decoded to, such as the size of images.

    Raises:
        UsageError: there is no such encoder, it reads texts, or data of its kind are not decoded to that.
    """

    weights, seed = None, 0

    def __init__(self, name: str, **decoding: Any):
        self.name, self.kind, self._given = name, nets.kind(name), decoding
        if "text" in self.kind:
            raise UsageError(
                f"{name} reads texts by the tokenizer of a training, and has none: give a run's folder, or the "
                "encoder.safetensors of one."
            )
        published = nets.has_published(name)
        self.row = "published" if published else "untrained"
        self.config = {"encoder": {"name": name, "pretrained": published}, "decoding": {}, "lineage": []}
        self._kinds = ["image", "video"] if self.kind == "image" else data.alone(self.kind)
        known = {field for kind in self._kinds for field in data.takes(kind)}
        for field in decoding:
            if field not in known:
                raise UsageError(f"{name} takes data that have no {field!r}: {suggestion(field, known)}")
        if set(nets.takes(name)) <= set(decoding):
            self._settle(next(kind for kind in self._kinds if set(decoding) <= set(data.takes(kind))), {})

    def __repr__(self) -> str:
        return f"Named({self.name!r}: {self.row})"

    @cached_property
    def encoder(self):
        if not self.config["decoding"]:
            raise UsageError(
                f"{self.name} is built for the first data that it sees: embed some, or give what it is to be built "
                f"for, as withhold.load({self.name!r}, {'=..., '.join(nets.takes(self.name))}=...)."
            )
        return super().encoder

    def suit(self, source: Any) -> None:
        if not self.config["decoding"]:
            kind = self.kind_of(source)
            shape = data.measure(source, kind)
            rate = min(shape.rate or data.MOST_RATE, data.MOST_RATE)
            size = suited_size(shape.size, self.name, self.row == "published")
            self._settle(kind, {"size": size, "channels": shape.channels or 3, "rate": rate})

    def _settle(self, kind: str, suited: dict[str, Any]) -> None:
        """Fix what data are decoded to, and with that what the encoder is built for."""
        known = data.takes(kind) | suited | self._given
        self.config["decoding"] = {field: known[field] for field in data.takes(kind)}
        self.config["encoder"] |= {field: known[field] for field in nets.takes(self.name)}
        weights = "published weights" if self.row == "published" else "fresh weights: a control, not a trained encoder"
        log.info("%s for %s; %s", self.name, inputs(self.config), weights)

    def kind_of(self, source: Any) -> str:
        return data.holds(source, self._kinds)

    def controls(self):
        return {} if self.row == "untrained" else super().controls()

    def learned(self):
        return None if self.row == "untrained" else super().learned()
