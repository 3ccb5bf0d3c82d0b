"""Starting a training from the encoder of an earlier run or of an exported file."""

import filecmp
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from withhold import methods as registry
from withhold import nets
from withhold.errors import UsageError
from withhold.files import writing
from withhold.methods import Method
from withhold.nets import hub
from withhold.options import Options
from withhold.runs.build import address, build_encoder
from withhold.runs.loading import find
from withhold.runs.metadata import write_weights
from withhold.runs.run import Run
from withhold.runs.told import Told

log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Start:
    """The starting point of a training.

    Attributes:
        encoder: the configuration of the encoder that it starts from, where "start" is the file of its weights and
            "model" the folder that describes a model of the hub; None for a new encoder.
        window: how that encoder's data are cut and decoded; used by the method unless the user sets it.
        lineage: the earlier trainings, oldest first: method, data and the digest of the encoder.
        told: the items whose labels they were given, see `read_told`.
    """

    encoder: dict[str, Any] | None = None
    window: dict[str, Any] = field(default_factory=dict)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    told: Told = ()

    def configure(self, cls: type[Method], given: dict[str, Any]) -> dict[str, Any]:
        """Return all parameters of the method: those `given`, then the window, then the defaults."""
        window = {name: self.window[name] for name in registry.parameters(cls) if name in self.window}
        return registry.configure(cls, window | given)


def find_start(options: Options, folder: Path) -> Start:
    """Return the start that `options.encoder` names; a run that has begun in `folder` keeps its own.

    Raises:
        UsageError: the named run is not finished, --pretrained is given as well, or the run in `folder` began with
            other weights.
    """
    begun = (folder / "config.json").is_file()
    config = Run(folder).config if begun else {}
    if {"start", "model"} & set(config.get("encoder", ())):
        return Start(config["encoder"], config["parameters"], config["lineage"])
    origin = find(options.encoder) if options.encoder is not None else None
    if origin is None or origin.weights is None:
        named = options.encoder or ""
        reads = named.startswith("hf:") and "tokenizer" in nets.takes(named)
        return Start(window={"tokenizer": named} if reads else {})
    if begun:
        raise UsageError(
            f"{folder} was trained with encoder {config['encoder']['name']}, not {options.encoder}. Repeat its own "
            "options to resume it, or choose another --out."
        )
    if options.pretrained:
        raise UsageError(f"{origin.name} and --pretrained are two starting points. Remove one of them.")
    if not origin.weights.is_file():
        raise UsageError(f"The training in {origin.name} is not finished. Finish it first with --resume.")
    encoder = origin.config["encoder"] | {"start": str(origin.weights)}
    return Start(encoder, origin.config["decoding"], origin.lineage, origin.told_items())


def warn_of_other_decoding(start: Start, decoding: dict[str, Any]) -> None:
    """Warn if items whose labels the start was given will not be recognised, because they are now decoded otherwise."""
    other = [name for name, value in decoding.items() if name != "tokenizer" and start.window.get(name, value) != value]
    if start.told and other:
        was, now = (", ".join(f"{name}={known[name]}" for name in other) for known in (start.window, decoding))
        log.warning(
            "the earlier training decoded its items with %s, not %s: those whose labels it was given are not "
            "recognised. Evaluate on items that it was not given", was, now,
        )  # fmt: skip


def keep_start(encoder: dict[str, Any], folder: Path) -> None:
    """Copy the weights and the description that `encoder` starts from into the folder, to make it self-contained.

    Args:
        encoder: a run's "encoder" configuration, which is changed to name the copies.
    """
    kept, model = folder / "start.safetensors", folder / "model"
    if "start" in encoder:
        path = Path(encoder["start"])
        if not kept.is_file() or not filecmp.cmp(path, kept, shallow=False):
            with writing(kept) as partial:
                shutil.copyfile(path, partial)
        encoder["start"] = str(kept)
    elif encoder["pretrained"]:
        write_weights(kept, build_encoder(encoder, 0), {"encoder": encoder["name"]})
        encoder["start"] = str(kept)
    if encoder["name"].startswith("hf:"):
        if encoder.get("model") != str(model):
            hub.keep(address(encoder).removeprefix("hf:"), model)
        encoder["model"] = str(model)
