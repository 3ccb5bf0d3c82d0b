"""Training from data to a finished run folder."""

import atexit
import csv
import logging
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric

import withhold
from withhold import data, evaluation, nets, training
from withhold import methods as registry
from withhold.data import Samples, Series
from withhold.errors import UsageError, suggestion
from withhold.files import prepare_folder
from withhold.methods import Method
from withhold.report import write as write_report
from withhold.report.report import inputs
from withhold.runs import monitoring
from withhold.runs.build import build_method, choose, classes_of, load_streams, make_tokenizer
from withhold.runs.run import Run, write_json, write_weights
from withhold.training import Outcome, Plan, Row, defaults

log = logging.getLogger("withhold")


def train(
    method: str,
    *sources: Any,
    encoder: str | None = None,
    size: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    clip: float = 0.0,
    accumulate: int = 1,
    seed: int = 0,
    labels: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    precision: str | None = None,
    strict: bool = False,
    pretrained: bool = False,
    progress: Callable[[Row, int], None] | None = None,
    **parameters: Any,
) -> Run:
    """Train `method` on `sources`, one for each stream that it needs; gives the finished run.

    What is left None is chosen from the data, the budget and the hardware, said, and saved in the run's config.json.

    Args:
        method: a method's name, or the path of a Python file that declares one.
        sources: folders, manifests, `hf:NAME`, `digits`, arrays, data sets: whatever `withhold.data.load` takes.
        encoder: `resnet18`, `hf:NAME`, `timm:NAME` ...; see `withhold.nets.names()`.
        size: pixels of the square input.
        epochs, minutes: the budget, one of the two; 10 minutes on a CPU and 30 on a GPU where neither is named.
        batch_size: items a step, on each device.
        optimizer, lr, weight_decay, clip, accumulate, seed: as `withhold.training.Plan` says.
        labels: a csv file with the labels of some items, for the k-NN that watches and for methods that use labels.
        out: the run's folder; `runs/METHOD-DATA` where it is not named.
        resume: go on where the folder's last checkpoint is; start where there is none.
        devices, nodes: processes a machine, and machines.
        precision: Fabric's name, such as "32-true"; "bf16-mixed" where the hardware multiplies it.
        strict: a sample that cannot be read is an error, instead of being skipped and listed.
        pretrained: start from the encoder's published weights (`hf:` and `timm:`).
        progress: told every row of the journal, and the number of steps planned.
        parameters: the method's own.

    Raises:
        UsageError: a name, value or combination that makes no sense.
        WithholdError: data that cannot be read, a loss that is not finite, a full disk.
    """
    cls = registry.find(method)
    if labels is not None and len(sources) == 1:  # which tells what it labels from the rest of one source
        sources *= len(cls.needs)
    if epochs is not None and minutes is not None:
        raise UsageError("--epochs and --minutes are two budgets: give one of them.")
    for name, value in {"epochs": epochs, "minutes": minutes, "batch size": batch_size, "size": size, "lr": lr}.items():
        if value is not None and value <= 0:
            raise UsageError(f"The {name} must be above 0, not {value}.")
    if seed < 0 or devices < 1 or nodes < 1:
        raise UsageError(f"The seed is at least 0, devices and nodes at least 1, not {seed}, {devices} and {nodes}.")
    if precision is not None and precision not in defaults.PRECISIONS:
        raise UsageError(f"There is no precision {precision!r}: {suggestion(precision, defaults.PRECISIONS)}")
    parameters = registry.configure(cls, parameters)

    # What may fail and what looks for files comes before other processes are started, which do the same.
    folder = Path(out) if out is not None else Path("runs") / f"{cls.name}-{_label(sources)}"
    begun = (folder / "config.json").is_file()
    if begun and not resume:
        raise UsageError(f"The run {folder} exists: add --resume to go on with it, or name another --out.")

    chosen, decoding = choose(cls, sources, parameters, encoder, size, pretrained)
    if "tokenizer" in decoding:
        make_tokenizer(cls, sources, chosen, decoding, folder)
    # A throw-away, so that a wrong name or size is found before anything is decoded.
    build_method(cls, chosen, parameters, seed, classes=("this", "that"))
    prepare_folder(folder)
    streams = load_streams(cls, sources, decoding, labels=labels, strict=strict)
    classes = classes_of(cls, streams)
    learner = build_method(cls, chosen, parameters, seed, classes)
    fabric = _fabric(learner, devices, nodes, precision)

    longest = max(streams.values(), key=lambda samples: len(samples.windows()))
    batch_size = batch_size or defaults.batch_size(cls, len(longest.windows()), longest.kind)
    feeder = data.Feeder(
        streams, cls.needs, batch_size, seed, device=fabric.device, rank=fabric.global_rank, world=fabric.world_size
    )
    if epochs is None and minutes is None:
        minutes = defaults.minutes(fabric.device)
    plan = Plan(
        steps=None if epochs is None else max(1, round(epochs * feeder.steps_per_epoch)),
        minutes=minutes, optimizer=optimizer, lr=lr, weight_decay=weight_decay, clip=clip, accumulate=accumulate,
        seed=seed,
    )  # fmt: skip
    config = {
        "withhold": withhold.__version__,
        "method": method if method.endswith(".py") else cls.name,
        "parameters": parameters,
        "encoder": chosen,
        "decoding": decoding,
        "data": [_describe(source) for source in sources],
        "labels": None if labels is None else str(labels),
        "classes": list(classes),
        "batch_size": batch_size,
        "plan": asdict(plan),
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
        _write_skipped(folder / "skipped.csv", streams)
    _say(config, streams, feeder, fabric)
    watched = monitoring.choose(streams)
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes stay: the fastest algorithms are worth a search
        for part in learner.modules():
            if isinstance(part, nets.Encoder):
                part.compile()
    try:
        outcome = training.fit(
            learner, feeder, plan, fabric=fabric, folder=folder, report=progress,
            look=lambda encoder: monitoring.look(encoder, *watched),
        )  # fmt: skip
    except UsageError:
        if not begun and not (folder / "checkpoints").exists():  # data that do not suit leave nothing to go on with
            (folder / "config.json").unlink(missing_ok=True)
        raise
    if outcome.finished:
        log.info("measuring what it sees, and drawing the report")
        _finish(folder, learner, streams, config, outcome, fabric)
    fabric.barrier()
    return Run(folder)


def _fabric(learner: Method, devices: int, nodes: int, precision: str | None) -> Fabric:
    device = defaults.device()
    ranks = devices * nodes
    game = len(learner.players()) > 1  # while one player plays, the others' parameters go unused
    strategy = "ddp_find_unused_parameters_true" if game else "ddp"
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy if ranks > 1 else "auto",
        precision=cast(Any, precision or defaults.precision(device, learner.encoder)),
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
    if fabric.is_global_zero:
        write_weights(folder / "method.safetensors", learner)
    # Methods train on cut, masked or coloured inputs; a person will embed whole images, and so do the controls.
    plain = evaluation.plain_batches([samples.of(encoder.kind) for samples in streams.values()], fabric.device)
    nets.refresh_statistics(encoder, plain)
    if not fabric.is_global_zero:  # the others were needed for statistics across ranks
        return
    write_weights(folder / "encoder.safetensors", encoder)
    last = outcome.rows[-1]
    config["hardware"] = {
        "device": torch.cuda.get_device_name()
        if fabric.device.type == "cuda"
        else platform.processor() or platform.machine(),
        "devices": fabric.world_size,
        "threads": torch.get_num_threads(),
        "precision": fabric._precision.precision,
        "torch": torch.__version__,
    }
    config["outcome"] = {
        "steps": outcome.steps,
        "seconds": last["seconds"],
        "items_per_second": outcome.steps * config["batch_size"] * fabric.world_size / max(last["seconds"], 1e-9),
        "metrics": {name: value for name, value in last.items() if name not in ("step", "seconds", "waiting", "lr")},
    }
    write_json(folder / "config.json", config)
    write_report(Run(folder), *streams.values())


def _check_same(folder: Path, config: dict[str, Any]) -> None:
    """A run is resumed with its own configuration or not at all."""
    saved = Run(folder).config
    for part in ("method", "parameters", "encoder", "decoding", "data", "labels", "batch_size", "plan"):
        before, now = saved[part], config[part]
        if before == now:
            continue
        pairs = before.items() if isinstance(before, dict) else [(part, before)]
        name, value = next(((n, v) for n, v in pairs if not isinstance(now, dict) or now.get(n) != v), (part, before))
        other = now[name] if isinstance(now, dict) else now
        raise UsageError(
            f"{folder} was trained with {name} {value}, not {other}: "
            "repeat its own options to resume it, or name another --out."
        )


def _write_skipped(path: Path, streams: dict[str, Samples]) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:  # a name can be any bytes
        writer = csv.writer(file)
        writer.writerow(["stream", "item", "reason"])
        writer.writerows([stream, *item] for stream, samples in streams.items() for item in samples.skipped)


def _say(config: dict, streams: dict[str, Samples], feeder: Any, fabric: Fabric) -> None:
    if not fabric.is_global_zero:
        return
    plan, encoder = config["plan"], config["encoder"]
    for stream, samples in streams.items():
        cut = f" in {len(samples.windows()):,} windows" if len(samples.windows()) > len(samples) else ""
        skipped = f", {len(samples.skipped)} skipped" if samples.skipped else ""
        known = 0 if samples.labels is None else int((samples.labels >= 0).sum())
        labels = f", {known:,} of them with a label" if 0 < known < len(samples) else ""
        labels += f", no labels ({samples.unlabelled})" if samples.unlabelled else ""
        log.info("%s: %s items%s from %s%s%s", stream, f"{len(samples):,}", cut, samples.source, skipped, labels)
        if isinstance(samples, Series) and samples.longest <= samples.window / 2:
            seconds = f"seconds={samples.longest / samples.rate:.2g}"
            rows = {"video": "frames", "text": "tokens"}.get(samples.kind, "samples")
            log.warning(
                "the longest has %s of the %s %s that a window holds; the rest is filled: %s learns more",
                f"{samples.longest:,}", f"{samples.window:,}", rows,
                seconds if rows == "samples" else f"{rows}={samples.longest}",
            )  # fmt: skip
    log.info(
        "%s: encoder %s for %s, batch %s, %s, %s, seed %s",
        config["method"], encoder["name"], inputs(config), config["batch_size"],
        f"{plan['steps']} steps" if plan["steps"] else f"{plan['minutes']:g} minutes",
        f"{fabric.device.type} {fabric._precision.precision}", plan["seed"],
    )  # fmt: skip


def _label(sources: tuple[Any, ...]) -> str:
    """The data's part of a run's name."""
    names = [Path(source.removeprefix("hf:")).stem if isinstance(source, str) else "data" for source in sources]
    return "-".join(dict.fromkeys(name or "data" for name in names))


def _describe(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else f"{type(source).__name__} of {len(source)}"
