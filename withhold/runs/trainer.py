"""Training from data to a finished run folder."""

import atexit
import csv
import logging
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric

import withhold
from withhold import data, evaluation, kinds, nets, training
from withhold import methods as registry
from withhold.console import counted
from withhold.data import Samples, Series
from withhold.errors import UsageError
from withhold.files import prepare_folder, write_json
from withhold.methods import Method
from withhold.needs import Need
from withhold.options import Options, named
from withhold.report import write as write_report
from withhold.report.report import inputs
from withhold.runs import monitoring
from withhold.runs.build import build_method, choose, load_streams, make_tokenizer, tell
from withhold.runs.export import write_weights
from withhold.runs.run import Run
from withhold.runs.start import find_start, keep_start
from withhold.training import Outcome, Row, defaults

log = logging.getLogger("withhold")


def train(
    method: str,
    *sources: Any,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[Row, int], None] | None = None,
    **given: Any,
) -> Run:
    """Train `method` on `sources`, one for each stream that it needs; gives the finished run.

    What is left None is chosen from the data, the budget and the hardware, said, and saved in the run's config.json.

    Args:
        method: a method's name, or the path of a Python file that declares one.
        sources: folders, manifests, `hf:NAME`, `digits`, arrays, data sets: whatever `withhold.data.load` takes.
        out: the run's folder; `runs/METHOD-DATA` where it is not named.
        resume: go on where the folder's last checkpoint is; start where there is none.
        progress: told every row of the journal, and the number of steps planned.
        given: options of the training, as `withhold.options.Options` lists them (encoder, size, epochs, minutes,
            batch_size, lr, seed, labels ...), and the method's own parameters.

    Raises:
        UsageError: a name, value or combination that makes no sense.
        WithholdError: data that cannot be read, a loss that is not finite, a full disk.
    """
    cls = registry.find(method)
    own = {option.name for option in named()}
    options = Options(**{name: value for name, value in given.items() if name in own})
    if options.labels is not None and len(sources) == 1:  # which tells what it labels from the rest of one source
        sources *= len(cls.needs)

    # What may fail and what looks for files comes before other processes are started, which do the same.
    folder = Path(out) if out is not None else Path("runs") / f"{cls.name}-{_label(sources)}"
    begun = (folder / "config.json").is_file()
    if begun and not resume:
        raise UsageError(f"The run {folder} exists: add --resume to go on with it, or name another --out.")

    start = find_start(options, folder)
    parameters = start.configure(cls, {name: value for name, value in given.items() if name not in own})
    chosen, decoding = choose(
        cls, sources, parameters, options.encoder, options.size, options.pretrained, start.encoder
    )
    if "tokenizer" in decoding:
        make_tokenizer(cls, sources, chosen, decoding, folder)
    # A throw-away, so that a wrong name or size is found before anything is decoded.
    told: dict[str, Any] = {"classes": ("this", "that"), "targets": {"this": ("one", "other"), "that": None}}
    build_method(cls, chosen, parameters, options.seed, told)
    prepare_folder(folder)
    keep_start(chosen, folder)
    streams = load_streams(cls, sources, decoding, labels=options.labels, strict=options.strict)
    told = tell(cls, streams)
    learner = build_method(cls, chosen, parameters, options.seed, told)
    fabric = _fabric(learner, options)
    addresses = {"labels": options.labels} | ({"encoder": options.encoder} if start.lineage else {})

    longest = max(streams.values(), key=lambda samples: len(samples.windows()))
    batch_size = options.batch_size or defaults.batch_size(cls, len(longest.windows()), longest.kind)
    feeder = data.Feeder(
        streams, cls.needs, batch_size, options.seed, device=fabric.device, rank=fabric.global_rank,
        world=fabric.world_size, orders=cls.order, groups=learner.get_buffer,
    )  # fmt: skip
    layerwise = defaults.layerwise("start" in chosen)
    epochs, minutes = options.epochs, options.minutes
    if epochs is None and minutes is None:
        minutes = defaults.minutes(fabric.device)
    options = replace(
        options, batch_size=batch_size, minutes=minutes, precision=fabric._precision.precision,
        steps=None if epochs is None else max(1, round(epochs * feeder.steps_per_epoch)),
        **{name: share for name, share in layerwise.items() if getattr(options, name) is None},
    )  # fmt: skip
    config = {
        "withhold": withhold.__version__,
        "method": method if method.endswith(".py") else cls.name,
        "parameters": parameters,
        "encoder": chosen,
        "lineage": start.lineage,
        "decoding": decoding,
        "prepared": learner.encoder.prepared(),
        "data": [data.address(source) or f"{type(source).__name__} of {len(source)}" for source in sources],
        "streams": {name: {"items": len(part), "fingerprint": part.fingerprint} for name, part in streams.items()},
        **told,
        "training": asdict(options) | {name: path and os.path.abspath(path) for name, path in addresses.items()},
    }
    if begun:
        _check_same(folder, config)
    if resume and fabric.is_global_zero:
        if begun and Run(folder).finished:
            log.info("%s is finished", folder)
        elif (folder / "checkpoints" / "last.ckpt").is_file():
            log.info("%s goes on from its last checkpoint", folder)
        else:
            log.info("%s has no checkpoint yet: it starts from the beginning", folder)

    if fabric.is_global_zero:
        if not begun:
            write_json(folder / "config.json", config)
        _list_items(folder, cls.needs, streams, learner.encoder.kind)
    _say(config, streams, feeder, fabric)
    seen = {name: samples.of(learner.encoder.kind) for name, samples in streams.items()}
    watched = monitoring.choose(cls.needs, seen)
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes stay: the fastest algorithms are worth a search
        for part in learner.modules():
            if isinstance(part, nets.Encoder):
                part.compile()
    try:
        outcome = training.fit(
            learner, feeder, options, fabric=fabric, folder=folder, report=progress,
            look=lambda encoder: monitoring.look(encoder, *watched),
        )  # fmt: skip
    except UsageError:
        if not begun and not (folder / "checkpoints").exists():  # data that do not suit leave nothing to go on with
            (folder / "config.json").unlink(missing_ok=True)
        raise
    log.info("measuring what it sees, and drawing the report")
    _finish(folder, learner, streams, config, outcome, fabric)
    fabric.barrier()
    return Run(folder, held=list(streams.values()))


def _fabric(learner: Method, options: Options) -> Fabric:
    device = defaults.device()
    ranks = options.devices * options.nodes
    game = len(learner.players()) > 1  # while one player plays, the others' parameters go unused
    strategy = "ddp_find_unused_parameters_true" if game else "ddp"
    fabric = Fabric(
        accelerator=device.type,
        devices=options.devices,
        num_nodes=options.nodes,
        strategy=strategy if ranks > 1 else "auto",
        precision=cast(Any, options.precision or defaults.precision(device, learner.encoder)),
    )
    if ranks > 1:
        fabric.launch()
        atexit.register(_part)
    return fabric


def _part() -> None:
    """Leave the other processes; the threads that speak to them would abort an interpreter that ends before them."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _finish(
    folder: Path, learner: Method, streams: dict[str, Samples], config: dict, outcome: Outcome, fabric: Fabric
) -> None:
    """Write the weights, with batch statistics of plain images, and the report."""
    encoder = learner.encoder
    plain = [samples.of(encoder.kind) for samples in streams.values()]
    learner.seed(config["training"]["seed"])
    learner.eval().finish(lambda: evaluation.plain_batches(plain, fabric.device))
    if not fabric.is_global_zero:  # the others were needed for statistics across ranks
        return
    write_weights(folder / "method.safetensors", learner)
    write_weights(folder / "encoder.safetensors", encoder)  # the last one, which says that the run is finished
    last, items = outcome.rows[-1], config["training"]["batch_size"] * fabric.world_size
    config["hardware"] = {
        "device": torch.cuda.get_device_name()
        if fabric.device.type == "cuda"
        else platform.processor() or platform.machine(),
        "devices": fabric.world_size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    config["outcome"] = {
        "steps": outcome.steps,
        "seconds": last["seconds"],
        "items_per_second": outcome.steps * items / max(last["seconds"], 1e-9),
        "metrics": {name: value for name, value in last.items() if name not in ("step", "seconds", "waiting", "lr")},
    }
    write_json(folder / "config.json", config)
    write_report(Run(folder), *streams.values())


def _check_same(folder: Path, config: dict[str, Any]) -> None:
    """A run is resumed with its own data and configuration or not at all."""
    saved = Run(folder).config
    for part in (
        "withhold", "method", "parameters", "encoder", "decoding", "data", "training", "classes", "targets", "streams"
    ):  # fmt: skip
        before, now = saved[part], config[part]
        pairs = before.items() if isinstance(before, dict) else [(part, before)]
        for name, value in pairs:
            other: Any = now.get(name) if isinstance(now, dict) else now
            if value == other or name in ("devices", "nodes", "strict"):
                continue
            if part == "streams":
                raise UsageError(
                    f"The data of the stream {name} have changed since {folder} began ({value['items']:,} items then, "
                    f"{other['items']:,} now): put them back to resume it, or name another --out."
                )
            raise UsageError(
                f"{folder} was trained with {name.replace('_', ' ')} {value}, not {other}: "
                "repeat its own options to resume it, or name another --out."
            )


def _list_items(folder: Path, needs: dict[str, Need], streams: dict[str, Samples], kind: str) -> None:
    """Write skipped.csv, what was left out and why; and told.csv, the items whose labels the method is told.

    Args:
        kind: of data of the encoder, which what tells items from others is of.
    """
    skipped = [[stream, *item] for stream, samples in streams.items() for item in samples.skipped]
    told = []
    for stream, samples in streams.items():
        if needs[stream].labelled:
            taught = samples.labelled(f"the stream {stream}")
            digests = taught.of(kind).digests()
            told += [[stream, *item] for item in zip(taught.names, digests, strict=True)]
    for path, header, rows in (
        ("skipped.csv", ["stream", "item", "reason"], skipped), ("told.csv", ["stream", "item", "digest"], told)
    ):  # fmt: skip
        if rows or path == "skipped.csv":
            with open(folder / path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.writer(file).writerows([header, *rows])


def _say(config: dict, streams: dict[str, Samples], feeder: Any, fabric: Fabric) -> None:
    if not fabric.is_global_zero:
        return
    plan, encoder = config["training"], config["encoder"]
    for stream, samples in streams.items():
        cut = f" in {len(samples.windows()):,} windows" if len(samples.windows()) > len(samples) else ""
        skipped = f", {len(samples.skipped)} skipped" if samples.skipped else ""
        known = 0 if samples.labels is None else int((samples.labels >= 0).sum())
        labels = f", {known:,} of them with a label" if 0 < known < len(samples) else ""
        labels += f", no labels ({samples.unlabelled})" if samples.unlabelled else ""
        log.info("%s: %s items%s from %s%s%s", stream, f"{len(samples):,}", cut, samples.source, skipped, labels)
        if isinstance(samples, Series) and samples.longest <= samples.window / 2:
            length = kinds.of(samples.kind).length
            fits = samples.longest / samples.rate if length == "seconds" else samples.longest
            log.warning(
                "the longest has %s of the %s %s that a window holds; the rest is filled: %s=%.5g learns more",
                f"{samples.longest:,}", f"{samples.window:,}", length.replace("seconds", "samples"), length, fits,
            )  # fmt: skip
    log.info(
        "%s: encoder %s for %s, batch %s, %s, %s, seed %s",
        config["method"], encoder["name"], inputs(config), plan["batch_size"],
        counted(plan["steps"], "step") if plan["steps"] else f"{plan['minutes']:g} minutes",
        f"{fabric.device.type} {plan['precision']}", plan["seed"],
    )  # fmt: skip


def _label(sources: tuple[Any, ...]) -> str:
    """The data's part of a run's name."""
    names = [Path(source.removeprefix("hf:")).stem if isinstance(source, str) else "data" for source in sources]
    return "-".join(dict.fromkeys(name or "data" for name in names))
