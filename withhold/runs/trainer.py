"""Training: from data to a finished run folder."""

import atexit
import logging
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import withhold
from withhold import data, evaluation, nets, training
from withhold import methods as registry
from withhold.console import counted
from withhold.data import Samples
from withhold.files import write_csv, write_json
from withhold.methods import Method
from withhold.nets.adapters import Adapter
from withhold.nets.hub import TextAdapter
from withhold.nets.registry import lend
from withhold.options import Options, named
from withhold.runs import monitoring
from withhold.runs.budget import fit_size, left, timed
from withhold.runs.build import build_method, choose, load_streams, make_tokenizer, served, tell
from withhold.runs.folder import folder_of, held
from withhold.runs.metadata import describe, write_weights
from withhold.runs.resuming import BUDGETS, check_same, planned
from withhold.runs.run import Run
from withhold.runs.saying import say
from withhold.runs.start import find_start, keep_start, warn_of_other_decoding
from withhold.runs.told import find_told, read_told, write_told
from withhold.training import Outcome, Row, defaults
from withhold.training.fabric import make_fabric

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger("withhold")


def train(
    method: str,
    *sources: Any,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[Row, int], None] | None = None,
    **given: Any,
) -> Run:
    """Train `method` on `sources`, one for each stream that it needs, and return the finished run.

    Options that are None are chosen from the data, the budget and the hardware, logged, and saved in the run's
    config.json.

    Args:
        method: a method's name, or the path of a Python file that declares one.
        sources: folders, manifests, `hf:NAME`, `digits`, arrays, datasets: whatever `withhold.data.load` takes.
        out: the run's folder; by default `runs/METHOD-DATA`.
        resume: resume from the last checkpoint in the folder; a run that was stopped before its first checkpoint
            starts again.
        progress: called with every row of the journal and the planned number of steps.
        given: training options, see `withhold.options.Options` (encoder, size, epochs, minutes, batch_size, lr, seed,
            labels ...), and the method's own parameters. An encoder may also be a module that maps images to [n, dim]
            or [n, dim, h, w] and has a `dim`. It sees normalised images, (x - 0.5) / 0.25 for x in [0, 1]. Pass such a
            module to `withhold.load(FOLDER, encoder=MODULE)` as well, with any weights.

    Raises:
        UsageError: an invalid name, value or combination.
        WithholdError: data that cannot be read, a loss that is not finite, a full disk, or another training in the
            folder.
    """
    began, cls = time.perf_counter(), registry.find(method)
    own = {option.name for option in named()}
    if isinstance(given.get("encoder"), nn.Module):
        given["encoder"] = lend(given["encoder"])
    options = Options(**{name: value for name, value in given.items() if name in own})
    if options.labels is not None and len(sources) == 1:  # the file tells labelled from unlabelled items of one source
        sources *= len(cls.needs)
    folder = folder_of(method, sources, out)
    with held(folder, resume, options):
        configured = {name: value for name, value in given.items() if name not in own}
        return _train(cls, method, sources, folder, resume, progress, options, configured, began)


def _train(
    cls: type[Method],
    method: str,
    sources: tuple[Any, ...],
    folder: Path,
    resume: bool,
    progress: Callable[[Row, int], None] | None,
    options: Options,
    given: dict[str, Any],
    began: float,
) -> Run:
    """Do the work of `train` in a locked folder, with the `given` parameters of the method."""
    # What may fail or looks for files comes first: processes that are started later repeat it.
    unlimited, most = options.epochs is None and options.minutes is None, None
    size, batch_size = options.size, options.batch_size
    before = Run(folder) if resume else None
    if before is not None:  # keep what was chosen for it
        saved = before.config["training"]
        size, batch_size = size or before.config["decoding"].get("size"), batch_size or saved["batch_size"]
        most = saved["most"]
        if unlimited:
            options = replace(options, **{budget: saved[budget] for budget in BUDGETS})
    elif unlimited:
        options = replace(options, minutes=defaults.minutes(defaults.device()))
    # Each rank would find a different pace.
    paced = options.minutes is not None and not resume and options.devices * options.nodes == 1

    start = find_start(options, folder)
    parameters = start.configure(cls, given)
    chosen, decoding = choose(cls, sources, parameters, options.encoder, size, options.pretrained, start.encoder)
    if "tokenizer" in decoding:
        make_tokenizer(cls, sources, chosen, decoding, folder)
    # Built once and discarded, so that a wrong name or size is found before anything is decoded.
    told: dict[str, Any] = {"classes": ("this", "that"), "targets": {"this": ("one", "other"), "that": None}}
    build_method(cls, chosen, parameters, options.seed, told)
    keep_start(chosen, folder)
    fixed = options.pretrained or ":" in chosen["name"]  # trained on images of one size
    if paced and size is None and start.encoder is None and not fixed:
        fit_size(cls, sources, chosen, decoding, parameters, options, left(options, began))
    streams = load_streams(cls, sources, decoding, labels=options.labels, strict=options.strict)
    told = tell(cls, streams, parameters)
    learner = build_method(cls, chosen, parameters, options.seed, told)
    rate = 0.0
    if before is not None:
        options = replace(options, precision=options.precision or before.config["training"]["precision"])
    elif paced:
        known = [options.precision] if options.precision else defaults.precisions(defaults.device(), learner.encoder)
        options, rate = timed(cls, streams, chosen, parameters, options, known, left(options, began))
    fabric = _fabric(learner, options)
    addresses: dict[str, Any] = {}
    if start.lineage:
        addresses["encoder"] = options.encoder and os.path.abspath(options.encoder)
    addresses |= {"labels": [os.path.abspath(path) for path in data.label_files(options.labels)] or None}

    longest = max(served(cls, streams).values(), key=lambda samples: len(samples.windows()))
    if batch_size is None:
        items = left(options, began) * rate if paced else math.inf
        count = len(longest.windows()) // (options.devices * options.nodes)  # on each device
        batch_size = defaults.batch_size(cls, count, longest.kind, items)
    feeder = data.Feeder(
        streams, cls.needs, batch_size, options.seed, device=fabric.device, rank=fabric.global_rank,
        world=fabric.world_size, orders=cls.order, groups=learner.get_buffer,
    )  # fmt: skip
    layerwise = defaults.layerwise(cls.gentle and "start" in chosen, cls.gentle and chosen["pretrained"])
    if unlimited and before is None and all(need.labelled for need in cls.needs.values()):  # few labels overfit soon
        most = math.ceil(defaults.images(feeder.longest, fabric.device) / (batch_size * fabric.world_size))
    options = replace(
        options, batch_size=batch_size, precision=fabric._precision.precision, most=most,
        steps=planned(options, feeder.steps_per_epoch, before),
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
        "training": asdict(options) | addresses,
    }
    if before is not None:
        if len(sources) == len(before.config["data"]):  # the same data in memory leave an address as it is
            pairs = zip(before.config["data"], config["data"], strict=True)
            config["data"] = [was if data.unnamed(now) else now for was, now in pairs]
        check_same(before, config)
        more = before.finished and (options.steps or 0) > before.config["outcome"]["steps"]
        if fabric.is_global_zero:
            _say_how(before, more, options)
            changed = {name: config[name] for name in (("data", "training") if more else ("data",))}
            write_json(folder / "config.json", before.config | changed)
            if more:
                (folder / "evaluation.json").unlink(missing_ok=True)
        if before.finished and not more:
            return Run(folder, held=list(streams.values()))

    kind = learner.encoder.kind
    if resume:
        told_items = read_told(folder)
    else:
        told_items = find_told(cls.needs, streams, kind, start.told)
        warn_of_other_decoding(start, decoding)
    seen = {name: samples.of(kind) for name, samples in streams.items()}
    watched = monitoring.choose(cls.needs, seen, {row["digest"] for row in told_items})
    if before is not None:
        config["began"] = before.config.get("began")
    else:  # training may make a pretrained encoder worse
        config["began"] = monitoring.look(learner.encoder, *watched) if "start" in chosen else None
    if fabric.is_global_zero:
        if not resume:
            write_told(folder, told_items)
            write_json(folder / "config.json", config)
        skipped = [[stream, *item] for stream, samples in streams.items() for item in samples.skipped]
        write_csv(folder / "skipped.csv", ["stream", "item", "reason"], skipped)
        say(config, streams, fabric.device.type)
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes are constant, so a search for fast algorithms pays off
        # Methods that balance tasks differentiate several losses through one pass of the compiled encoder.
        torch._functorch.config.donated_buffer = False
        for part in learner.modules():
            if isinstance(part, nets.Encoder):
                part.compile()
    best = None
    if config["began"] and not any(need.teaches for need in cls.needs.values()):  # whose labels are few on purpose
        best = training.Best(folder / "checkpoints" / "best.ckpt", config["began"])
    try:
        outcome = training.fit(
            learner, feeder, options, seconds=left(options, began), fabric=fabric, folder=folder,
            look=lambda encoder: monitoring.look(encoder, *watched), report=progress,
            best=best,
        )  # fmt: skip
    except Exception:
        if not resume and not (folder / "metrics.csv").exists():  # it has not begun: there is nothing to resume
            (folder / "config.json").unlink(missing_ok=True)
        raise
    if outcome.kept is not None:
        log.info("the encoder was better at step %s; the weights of that step are kept", f"{outcome.kept:,}")
    _finish(folder, learner, feeder, streams, config, outcome, fabric)
    fabric.barrier()
    return Run(folder, held=list(streams.values()))


def _say_how(before: Run, more: bool, options: Options) -> None:
    """Log how a training is resumed, or that it is finished."""
    folder = before.folder
    if more:
        log.info("%s continues to %s", folder, counted(options.steps or 0, "step"))
        if before.results():
            log.info("its earlier evaluations are deleted: evaluate it again when it is finished")
    elif before.finished:
        log.info("%s is finished", folder)
    elif (folder / "checkpoints" / "last.ckpt").is_file():
        log.info("%s resumes from its last checkpoint", folder)
    else:
        log.info("%s has no checkpoint yet: it starts from the beginning", folder)


def _fabric(learner: Method, options: Options) -> "Fabric":
    device = defaults.device()
    ranks = options.devices * options.nodes
    game = len(learner.players()) > 1  # while one player plays, the others' parameters go unused
    adapted = any(isinstance(part, Adapter | TextAdapter) for part in learner.modules())  # may have unused ones
    strategy = "ddp_find_unused_parameters_true" if game or adapted else "ddp"
    fabric = make_fabric(
        device.type,
        options.devices,
        num_nodes=options.nodes,
        strategy=strategy if ranks > 1 else "auto",
        precision=options.precision or defaults.precision(device, learner.encoder),
    )
    if ranks > 1:
        fabric.launch()
        atexit.register(_part)
    return fabric


def _part() -> None:
    """Leave the process group: its communication threads would otherwise abort the interpreter at exit."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _finish(
    folder: Path, learner: Method, feeder: data.Feeder, streams: dict[str, Samples], config: dict, outcome: Outcome,
    fabric: "Fabric",
) -> None:  # fmt: skip
    """Write the weights, with batch statistics of plain images, and the report."""
    encoder = learner.encoder
    plain = [samples.of(encoder.kind) for stream, samples in streams.items() if stream not in learner.ignored]
    learner.seed(config["training"]["seed"])
    learner.eval().finish(lambda: evaluation.plain_batches(plain, fabric.device))
    learner.conclude(**feeder.streams)
    if not fabric.is_global_zero:  # the other ranks were only needed for the statistics
        return
    about = describe(config, type(learner), encoder)
    last = outcome.rows[-1] if outcome.rows else {"seconds": 0.0}  # without a step there is no row
    items = config["training"]["batch_size"] * fabric.world_size
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
        "kept": outcome.kept,
        "metrics": {name: value for name, value in last.items() if name not in ("step", "seconds", "waiting", "lr")},
        "one class": monitoring.one_class(learner, streams, fabric.device) if outcome.steps else None,
    }
    write_weights(folder / "method.safetensors", learner, about)
    write_weights(folder / "encoder.safetensors", encoder, about)
    write_json(folder / "config.json", config)  # written last: the outcome marks the run as finished
    if config["training"]["no_report"]:
        return
    log.info("writing the report")
    Run(folder).draw_report(*streams.values())
