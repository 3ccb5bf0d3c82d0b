"""What a run is made of: the encoder that suits, the streams, the method around them."""

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
    """The kind of data of each of a method's streams; `decoding` says which of several it is."""
    chosen = decoding.get("kinds", {})
    return {stream: need.kind(chosen.get(stream)) for stream, need in cls.needs.items()}


def deal(cls: type[Method], sources: Sequence[Any]) -> dict[str, list[Any]]:
    """The sources of each stream: one each, in order; the stream that takes several gets all that the others leave.

    Raises:
        UsageError: too few or too many.
    """
    several = [stream for stream, need in cls.needs.items() if need.several]
    more = len(sources) - len(cls.needs)
    if len(several) > 1:
        raise UsageError(
            f"{cls.name} needs several sources for {' and '.join(several)}: only one stream can have them."
        )
    if more < 0 or (more and not several):
        wanted = ", ".join(f"{stream} ({need})" for stream, need in cls.needs.items())
        taught = any(need.labelled for need in cls.needs.values())
        way_out = "name one source, with --labels FILE, or one for each" if taught else "name one source for each"
        raise UsageError(f"{cls.name} learns from {wanted}; it was given {counted(len(sources), 'source')}: {way_out}.")
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
    """A run's "encoder" and "decoding": what is None suits the method, the data and the hardware.

    All streams have the size of the largest images, and colour if one of them has. Decode parameters that are the
    method's own, such as the frames of a clip, are taken from `parameters`. A tokenizer is still to be trained.

    Args:
        start: the encoder to go on from, as the configuration of its run describes it.

    Raises:
        UsageError: not the sources that the streams need, or an encoder that does not suit the method.
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
    kept: dict[str, Any] = {part: start[part] for part in ("start", "model") if part in start} if start else {}
    encoder: dict[str, Any] = {"name": name, "pretrained": start["pretrained"] if start else pretrained, **kept}
    encoder |= {field: decoding[field] for field in nets.takes(address(encoder)) if field in decoding}
    if set(nets.takes(address(encoder))) - set(encoder):
        raise UsageError(
            f"{name} is an encoder for other data: it takes {nets.kind(address(encoder))} data, and these are {kind} "
            "data. Leave --encoder out, and the method takes its default."
        )
    if "channels" in encoder:
        encoder["channels"] = start["channels"] if start else cls.channels or decoding["channels"]
        if cls.channels not in (None, encoder["channels"]):
            raise UsageError(
                f"{cls.name} takes an encoder of images with {counted(cls.channels, 'channel')}, and this one has "
                f"{encoder['channels']}: leave --encoder out."
            )
    return encoder, decoding


def suited_size(measured: int, name: str, pretrained: bool) -> int:
    """Pixels of the input that suit images of `measured` pixels and the encoder called `name`."""
    published = nets.published_size(name) if pretrained else 0
    found = defaults.size(measured, defaults.device(), published)
    if published:
        log.info("images are scaled to %s px, the published weights saw %s (see --size)", found, published)
    return found


def address(encoder: dict[str, Any]) -> str:
    """What `nets` builds the encoder from that a run's configuration describes."""
    return f"hf:{encoder['model']}" if "model" in encoder else encoder["name"]


def make_tokenizer(
    cls: type[Method], sources: Sequence[Any], encoder: dict[str, Any], decoding: dict[str, Any], folder: Path
) -> None:
    """Put the tokenizer that `decoding` names into the folder, and its path into `encoder` and `decoding`.

    One that is to be trained learns from the texts among `sources`. That of a run that has begun stays; any other that
    the folder holds is left over from one that never did.
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
    """A source of a kind of data, decoded as a run's configuration says."""
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
    """The method's streams; `labels` belong to those that are to be labelled, if any are.

    A class has the same number in all of these.
    """
    taught = [stream for stream, need in cls.needs.items() if need.labelled]
    streams = {}
    for (stream, need), given in zip(cls.needs.items(), deal(cls, sources).values(), strict=True):
        options["labels"] = labels if stream in taught or not taught else None
        source = data.Several(given) if len(given) > 1 else given[0]
        streams[stream] = load_stream(source, kinds(cls, decoding)[stream], decoding, parts=need.parts, **options)
    shared, classes = data.share_classes([(streams[stream].labels, streams[stream].classes) for stream in taught])
    for stream, numbers in zip(taught, shared, strict=True):
        if numbers is not None and streams[stream].classes != classes:
            streams[stream] = streams[stream].with_labels(numbers, classes)
    return streams


def served(cls: type[Method], streams: dict[str, Samples]) -> dict[str, Samples]:
    """Of each stream the items that a training goes through: where it needs labels, those that have one."""
    return {name: streams[name].serving(need, f"the stream {name}") for name, need in cls.needs.items()}


def build_encoder(config: dict[str, Any], seed: int, begin: bool = True) -> Encoder:
    """The encoder that a run's configuration describes, with weights from `seed`, or from the file that it starts from.

    Args:
        begin: whether it gets the weights that it starts from; else it is only built so that they would fit.

    Raises:
        UsageError: these are weights of another encoder.
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
                f"The weights in {config['start']} do not go with {config['name']} for this input: leave --size and "
                f"the window of the method as they were ({str(error).splitlines()[-1].strip()})."
            ) from error
    return encoder


def build_method(
    cls: type[Method], encoder: dict[str, Any], parameters: dict[str, Any], seed: int, told: Mapping[str, Any]
) -> Method:
    """The method around the encoder that `encoder` describes, with weights from `seed`, and what the data tell it."""
    with torch.random.fork_rng(devices=[]):
        learner = build_encoder(encoder, seed)
        torch.manual_seed(seed)
        return registry.build(cls, learner, parameters, told)


def tell(cls: type[Method], streams: dict[str, Samples], parameters: dict[str, Any]) -> dict[str, Any]:
    """What the data tell the method, see `withhold.methods.registry.TOLD`, as a run's configuration keeps it.

    The classes are those of the stream that it takes labels from, else of the one with masks or boxes, else of its
    first one. The columns are those that the parameter "columns" names, else all that do not name the items.

    Raises:
        UsageError: the labels, boxes or columns that it needs are missing, or a classifier's or a mask's are all the
            same.
    """
    taught = [streams[name].labelled(f"the stream {name}") for name, need in cls.needs.items() if need.labelled]
    known = {samples.classes[number] for samples in taught for number in np.unique(np.asarray(samples.labels))}
    if issubclass(cls, Classifier) and len(known) == 1:
        raise UsageError(
            f"All labels of {taught[0].source} are {known.pop()!r}, and {cls.name} learns to tell classes apart: give "
            "labels of two or more."
        )
    parts = [streams[name].parts for name, need in cls.needs.items() if {"mask", "boxes"} & set(need.parts)]
    shown = [part["mask" if "mask" in part else "boxes"] for part in parts]
    if issubclass(cls, Dense) and not shown[0].classes:
        raise UsageError(f"No image of {next(iter(streams.values())).source} has a box: draw some.")
    if issubclass(cls, Segmenter) and len(shown[0].classes) < 2:
        raise UsageError(
            f"The masks of {shown[0].source} have fewer than two classes beside {IGNORED}, which is ignored: number "
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
    """The columns of these names, joined by commas; where none are named, those that do not name the items."""
    targets = samples.targets
    if named is not None:
        chosen = [named] if named in targets else named.split(",")  # one with a comma in its name
        for name in chosen:
            if name not in targets:
                raise UsageError(f"{samples.source} has no column {name!r} to learn: {suggestion(name, targets)}")
        return {name: targets[name] for name in dict.fromkeys(chosen)}
    found = {name: target for name, target in targets.items() if not target.names_items}
    if targets and not found:
        raise UsageError(
            f"Every column of {samples.source} names its items ({', '.join(targets)}), and nothing else: add one that "
            f"says what they are, or learn one all the same with columns={next(iter(targets))}."
        )
    return found
