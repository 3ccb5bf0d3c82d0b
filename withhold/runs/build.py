"""Building the parts of a run: the encoder, the streams and the method."""

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from withhold import data, nets
from withhold import methods as registry
from withhold.console import counted
from withhold.data import Samples
from withhold.errors import UsageError, suggestion
from withhold.files import writing
from withhold.methods import Classifier, Dense, Encoder, Method, Segmenter
from withhold.needs import IGNORED
from withhold.training import defaults

log = logging.getLogger("withhold")


def kinds(cls: type[Method], decoding: dict[str, Any]) -> dict[str, str]:
    """Return the kind of data of each of a method's streams; `decoding` selects it if several are possible."""
    chosen = decoding.get("kinds", {})
    return {stream: need.kind(chosen.get(stream)) for stream, need in cls.needs.items()}


def deal(cls: type[Method], sources: Sequence[Any]) -> dict[str, list[Any]]:
    """Assign sources to streams: one each, in order; the stream that takes several gets all remaining ones.

    Raises:
        UsageError: too few or too many sources.
    """
    several = [stream for stream, need in cls.needs.items() if need.several]
    more = len(sources) - len(cls.needs)
    if len(several) > 1:
        raise UsageError(
            f"{cls.name} needs several sources for {' and '.join(several)}, but only one stream can take several."
        )
    if more < 0 or (more and not several):
        wanted = ", ".join(f"{stream} ({need})" for stream, need in cls.needs.items())
        taught = any(need.labelled for need in cls.needs.values())
        way_out = "one source with --labels FILE, or one source for each" if taught else "one source for each"
        raise UsageError(
            f"{cls.name} learns from {wanted}, but {counted(len(sources), 'source')} given. Give {way_out}."
        )
    rest = iter(sources)
    return {stream: list(islice(rest, 1 + more if stream in several else 1)) for stream in cls.needs}


def choose(
    cls: type[Method],
    sources: Sequence[Any],
    parameters: dict[str, Any],
    name: str | None = None,
    size: int | None = None,
    pretrained: bool = False,
    start: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose a run's "encoder" and "decoding" configuration; what is None follows from method, data and hardware.

    All streams get the size of the largest images, and colour if one of them has colour. Decoding parameters of the
    method, such as the frames of a clip, are taken from `parameters`. A tokenizer is not trained here.

    Args:
        start: the configuration of the pretrained encoder to start from.

    Raises:
        UsageError: the sources do not match the streams, or the encoder does not suit the method.
    """
    decoding: dict[str, Any] = {}
    shapes = []
    for (stream, need), given in zip(cls.needs.items(), deal(cls, sources).values(), strict=True):
        if len(need.kinds) > 1:
            decoding.setdefault("kinds", {})[stream] = data.holds(given[0], need.kinds)
        shapes += [data.measure(source, kinds(cls, decoding)[stream]) for source in given]
    chosen = kinds(cls, decoding).values()
    taken = {field for kind in chosen for field in data.takes(kind)}
    decoding |= {field: parameters[field] for field in sorted(taken) if field in parameters}
    kind = next(iter(chosen))
    name = start["name"] if start else name or defaults.encoder(cls, defaults.device(), kind)
    if "size" in taken:
        measured = max(shape.size for shape in shapes)
        decoding["size"] = size or (start or {}).get("size") or suited_size(measured, name, pretrained)
        decoding["channels"] = max(shape.channels for shape in shapes)
    if "rate" in taken:
        usual = min(max(shape.rate for shape in shapes), data.MOST_RATE)
        decoding["rate"] = (start or {}).get("rate", usual)
    if size is not None and "size" not in taken:
        raise UsageError(f"A size is only for images and videos, but these are {kind} data. Remove --size.")
    kept: dict[str, Any] = {part: start[part] for part in ("start", "model") if part in start} if start else {}
    encoder: dict[str, Any] = {"name": name, "pretrained": start["pretrained"] if start else pretrained, **kept}
    encoder |= {field: decoding[field] for field in nets.takes(address(encoder)) if field in decoding}
    if set(nets.takes(address(encoder))) - set(encoder):
        raise UsageError(
            f"The encoder {name} takes {nets.kind(address(encoder))} data, but these are {kind} data. Remove --encoder "
            "to use the method's default encoder."
        )
    if "channels" in encoder:
        encoder["channels"] = start["channels"] if start else cls.channels or decoding["channels"]
        if cls.channels not in (None, encoder["channels"]):
            raise UsageError(
                f"{cls.name} needs an encoder for images with {counted(cls.channels, 'channel')}, but this one takes "
                f"{encoder['channels']}. Remove --encoder."
            )
    return encoder, decoding


def suited_size(measured: int, name: str, pretrained: bool) -> int:
    """Return the input size in pixels that suits images of `measured` pixels and the encoder called `name`."""
    trained_at = nets.pretrained_size(name) if pretrained else 0
    found = defaults.size(measured, defaults.device(), trained_at)
    if trained_at:
        log.info(
            "images are scaled to %s px; the pretrained weights were trained at %s px (see --size)", found, trained_at
        )
    return found


def address(encoder: dict[str, Any]) -> str:
    """Return the name by which `nets` builds the encoder of a run's configuration."""
    return f"hf:{encoder['model']}" if "model" in encoder else encoder["name"]


def make_tokenizer(
    cls: type[Method], sources: Sequence[Any], encoder: dict[str, Any], decoding: dict[str, Any], folder: Path
) -> None:
    """Write the tokenizer that `decoding` names to the folder, and its path into `encoder` and `decoding`.

    A new tokenizer is trained on the texts among `sources`. The tokenizer of a run that has begun is kept; one left
    over from a run that never began is replaced.
    """
    path = folder / "tokenizer.json"
    if not (folder / "config.json").is_file():
        given = zip(deal(cls, sources).values(), kinds(cls, decoding).values(), strict=True)
        texts = [(source, kind) for part, kind in given for source in part if "text" in kind]
        tokenizer = data.fit_tokenizer(texts, decoding["tokenizer"])
        with writing(path) as partial:
            tokenizer.save(str(partial))
    for part in (encoder, decoding):
        if "tokenizer" in part:
            part["tokenizer"] = str(path)


def load_stream(source: Any, kind: str, decoding: dict[str, Any], **options: Any) -> Samples:
    """Load a source of a kind of data, decoded as a run's configuration says."""
    own = {field: value for field, value in decoding.items() if field in data.takes(kind)}
    return data.load(source, kind, **own, **options)


def load_streams(
    cls: type[Method],
    sources: Sequence[Any],
    decoding: dict[str, Any],
    *,
    labels: data.Labels | None = None,
    **options: Any,
) -> dict[str, Samples]:
    """Load the method's streams; `labels` belong to the streams that need labels, or to all if none does.

    A class has the same number in all labelled streams.

    Raises:
        UsageError: samples that were given ready, as `data.load` returns them, differ in their shape.
    """
    taught = [stream for stream, need in cls.needs.items() if need.labelled]
    streams = {}
    for (stream, need), given in zip(cls.needs.items(), deal(cls, sources).values(), strict=True):
        options["labels"] = labels if stream in taught or not taught else None
        source = data.Several(given) if len(given) > 1 else given[0]
        streams[stream] = load_stream(source, kinds(cls, decoding)[stream], decoding, parts=need.parts, **options)
    shapes = {samples.shape: samples for samples in streams.values() if samples.kind == "image"}
    if len(shapes) > 1:
        found = " and ".join(map(repr, shapes.values()))
        raise UsageError(
            f"{cls.name} needs images of one shape, not {found}. Load them with the same size and channels."
        )
    shared, classes = data.share_classes([(streams[stream].labels, streams[stream].classes) for stream in taught])
    for stream, numbers in zip(taught, shared, strict=True):
        if numbers is not None and streams[stream].classes != classes:
            streams[stream] = streams[stream].with_labels(numbers, classes)
    return streams


def served(cls: type[Method], streams: dict[str, Samples]) -> dict[str, Samples]:
    """Return the training items of each stream: all of them, or the labelled ones if the stream needs labels."""
    return {name: streams[name].serving(need, f"the stream {name}") for name, need in cls.needs.items()}


def build_encoder(config: dict[str, Any], seed: int, begin: bool = True) -> Encoder:
    """Build the encoder of a run's configuration, with random weights from `seed` or the weights that it starts from.

    Args:
        begin: whether to load the weights that it starts from; False builds the encoder without them.

    Raises:
        UsageError: the weights belong to another encoder.
    """
    inputs = {name: value for name, value in config.items() if name not in ("name", "start", "model")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = nets.build(address(config), weights=begin and "start" not in config, **inputs)
    if begin and "start" in config:
        try:
            encoder.load_state_dict(load_file(config["start"]))
            encoder.learned = True
        except (SafetensorError, RuntimeError, OSError) as error:
            raise UsageError(
                f"The weights in {config['start']} do not fit {config['name']} for this input: use the --size and the "
                f"window that they were trained with ({str(error).splitlines()[-1].strip()})."
            ) from error
    return encoder


def build_method(
    cls: type[Method], encoder: dict[str, Any], parameters: dict[str, Any], seed: int, told: Mapping[str, Any]
) -> Method:
    """Build the method with the encoder that `encoder` describes, with weights from `seed` and what `tell` returns."""
    with torch.random.fork_rng(devices=[]):
        learner = build_encoder(encoder, seed)
        torch.manual_seed(seed)
        return registry.build(cls, learner, parameters, told)


def tell(cls: type[Method], streams: dict[str, Samples], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what the method needs to know of the data (`withhold.methods.registry.TOLD`), for the run's configuration.

    The classes are those of the labelled stream, otherwise of the stream with masks or boxes, otherwise of the first
    stream. The columns are those that the parameter "columns" names, otherwise all columns that do not name the items.

    Raises:
        UsageError: the labels, boxes or columns that the method needs are missing, or there is only one class.
    """
    taught = [streams[name].labelled(f"the stream {name}") for name, need in cls.needs.items() if need.labelled]
    known = {samples.classes[number] for samples in taught for number in np.unique(np.asarray(samples.labels))}
    if issubclass(cls, Classifier) and len(known) == 1:
        raise UsageError(
            f"All labels of {taught[0].source} are {known.pop()!r}. {cls.name} needs labels of at least two classes."
        )
    parts = [streams[name].parts for name, need in cls.needs.items() if {"mask", "boxes"} & set(need.parts)]
    shown = [part["mask" if "mask" in part else "boxes"] for part in parts]
    if issubclass(cls, Dense) and not issubclass(cls, Segmenter) and not shown[0].classes:
        raise UsageError(f"No image of {next(iter(streams.values())).source} has a box. Draw some boxes first.")
    if issubclass(cls, Segmenter) and len(shown[0].classes) < 2:
        raise UsageError(
            f"The masks of {shown[0].source} have fewer than two classes besides {IGNORED}, which is ignored. Number "
            "the pixels' classes 0, 1, 2 ..., or name them in classes.txt."
        )
    columns = [
        _columns(streams[name], parameters.get("columns"))
        for name, need in cls.needs.items() if "targets" in need.parts
    ]  # fmt: skip
    return {
        "classes": list((taught or shown or list(streams.values()))[0].classes),
        "targets": {n: target.classes and list(target.classes) for held in columns for n, target in held.items()},
    }


def _columns(samples: Samples, named: str | None) -> dict[str, data.Target]:
    """Return the columns of these comma-separated names; without names, those that do not name the items."""
    targets = samples.targets
    if named is not None:
        chosen = [named] if named in targets else named.split(",")  # a column's name may contain a comma
        for name in chosen:
            if name not in targets:
                raise UsageError(f"{samples.source} has no column {name!r} to predict: {suggestion(name, targets)}")
        return {name: targets[name] for name in dict.fromkeys(chosen)}
    found = {name: target for name, target in targets.items() if not target.names_items}
    if targets and not found:
        raise UsageError(
            f"Every column of {samples.source} only identifies its items ({', '.join(targets)}). Add a column to "
            f"predict, or choose one of these with columns={next(iter(targets))}."
        )
    return found
