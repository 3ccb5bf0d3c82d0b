"""The report of a run: one self-contained HTML file."""

import csv
import math
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from withhold import nets
from withhold.console import column, counted, duration
from withhold.data import Samples, unnamed
from withhold.errors import UsageError
from withhold.evaluation import by_data
from withhold.options import Options
from withhold.page import render
from withhold.report import charts, gallery, routes
from withhold.report.compare import losses
from withhold.report.scores import PROTOCOLS, TERMS, card, tables, titled
from withhold.training import Row

if TYPE_CHECKING:
    from withhold.runs import Run

TEMPLATE = Path(__file__).with_name("report.html.jinja")
HOUSEKEEPING = {"step", "epoch", "seconds", "items_per_second", "waiting", "lr"}


def write(run: "Run", *streams: Samples) -> Path:
    """Write the run's report.html into its folder and return its path.

    Args:
        streams: the method's streams in its order, decoded for the run's encoder: the data for samples, map and
            neighbours. Without them, or while the training runs, these parts are left out.
    """
    part = section(run, *streams)
    return render(
        run.folder / "report.html",
        TEMPLATE,
        title=f"{part['name']} on {run.trained_on}",
        runs=[part],
        stats=stats(run),
        findings=run.doctor(),
        tables=tables(run.results(), _began(run)),
        facts=facts(run),
        few=routes.compared(run.folder),
        compared=routes.tables(routes.compared(run.folder)),
        command=command(run),
        skipped=_skipped(run.folder / "skipped.csv"),
        folder=run.folder,
        data=run.trained_on,
    )


def write_demo(results: list[dict[str, Any]], runs: Sequence["Run"], path: Path, samples: Samples) -> Path:
    """Write one page for several runs to `path`: their evaluation next to the controls, and their training curves.

    Args:
        results: rows of evaluations, each with its "method".
        samples: the data for each run's samples and map.
    """
    parts = [section(run, samples) for run in runs]
    return render(path, TEMPLATE, title="Training without labels", runs=parts, tables=tables(results))


def section(run: "Run", *streams: Samples) -> dict[str, Any]:
    """The part of a page about one run: its method, its curves and, if it is finished, samples, map and neighbours.

    Map and neighbours are of the largest stream.
    """
    shown: dict[str, Any] = {**card(run.config["method"]), "curves": curves(run.rows())}
    shown |= {"picture": [], "map": None, "neighbours": []}
    if run.finished and streams and all(map(len, streams)):
        with suppress(UsageError):  # of other items than the method can be asked about
            shown["picture"] = gallery.picture(gallery.of_run(run, streams, run.seed))
        drawn = max((gallery.draw(samples, run.seed) for samples in streams), key=len).of(run.encoder.kind)
        if len(drawn) > 2:
            features = nets.features(run.encoder, drawn)
            shown["map"] = gallery.embedding_map(drawn, features, run.seed)
            shown["neighbours"] = gallery.neighbours(drawn, features, run.encoder)
    return shown


def stats(run: "Run") -> list[dict[str, str]]:
    """The headline numbers, the most important first."""
    shown = []
    for data, results in list(by_data(run.results()).items())[-1:]:  # the latest
        scores = {(result["encoder"], column(result)): result["value"] for result in results}
        controls = {"untrained": "randomly initialised", "start": _began(run)}
        for name in (name for encoder, name in scores if encoder == "trained" and name in ("linear", "knn")):
            beside = [f", {title}: {scores[row, name]:.1%}" for row, title in controls.items() if (row, name) in scores]
            note, found = f"on {data}" + "".join(beside), scores["trained", name]
            shown.append({"value": f"{found:.1%}", "name": f"{PROTOCOLS[name]} accuracy", "note": note})
    rows = run.rows()
    looks = [row["knn"] for row in rows if "knn" in row]
    if looks and not shown:
        shown.append({"value": f"{looks[-1]:.1%}", "name": "k-NN accuracy", "note": "on a sample, during training"})
    if rows:
        last = rows[-1]
        for name, value in list(losses(last).items())[:2]:
            trivial = last.get(name.removesuffix("loss") + "trivial")
            note = f"first value: {_number(rows[0].get(name, math.nan))}"
            if trivial is not None:
                note = f"trivial baseline: {_number(trivial)}"
            shown.append({"value": _number(value), "name": titled(name), "note": note})
        time, steps = duration(last["seconds"]), counted(last["step"], "step")
        shown.append({"value": time, "name": "Training time", "note": steps})
        outcome = run.config.get("outcome", {})
        speed = outcome.get("items_per_second", last.get("items_per_second"))
        if speed is not None:
            note = run.config.get("hardware", {}).get("device", "")
            shown.append({"value": f"{speed:,.0f}", "name": "Items per second", "note": note})
    return shown


def curves(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A chart of each quantity in the journal: first the losses with their trivial baselines, then the other terms."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in HOUSEKEEPING))
    players = [name for name in names if losses({name: 0.0})]
    trivial = {name: name.removesuffix("loss") + "trivial" for name in players}
    terms = [name for name in names if name not in players and name not in trivial.values()]
    drawn = [_curve(rows, name, trivial[name] if trivial[name] in names else None) for name in players]
    return drawn + [_curve(rows, name, None) for name in sorted(terms, key=lambda name: name in TERMS)]


def _curve(rows: Sequence[Row], name: str, level: str | None) -> dict[str, Any]:
    series, beside = _series(rows, name), _series(rows, level) if level else None
    last, percent = series[1][-1], name == "knn" or name.endswith("accuracy")
    shown = f"{last:.1%}" if percent else _number(last)
    about = f"{titled(name)} over {counted(rows[-1]['step'], 'step')}, final value {shown}"
    return {
        "name": titled(name),
        "last": shown,
        "level": _number(beside[1][-1]) if beside else None,
        "svg": charts.line(series, beside, until=rows[-1]["step"], about=about, percent=percent),
    }


def _series(rows: Sequence[Row], name: str) -> charts.Series:
    had = [row for row in rows if name in row]
    return [row["step"] for row in had], [row[name] for row in had]


def _began(run: "Run") -> str:
    """Name of the weights that the run started from, unless they were random."""
    return "pretrained weights" if run.config["encoder"]["pretrained"] and not run.config.get("lineage") else "start"


def facts(run: "Run") -> dict[str, str]:
    """The run's data, encoder and training options, in words."""
    config = run.config
    encoder, hardware, classes = config["encoder"], config.get("hardware", {}), config["classes"]
    plan, usual = Options(**config["training"]), Options()
    chosen = {name: getattr(plan, name) for name in ("optimizer", "lr", "weight_decay", "clip", "accumulate")}
    said = {name: value for name, value in chosen.items() if value != getattr(usual, name)}
    start = "pretrained weights" if encoder["pretrained"] else "randomly initialised"
    if stages := config.get("lineage"):
        told = [f"{stage['method']} on {', '.join(map(os.path.basename, stage['data']))}" for stage in stages]
        start = f"{start}, then weights of" if encoder["pretrained"] else "weights of"
        start = f"{start} {', then '.join(told)}"
    values = {
        "Data": run.trained_on + (f", {len(classes)} classes" if classes else ""),
        "Parameters": _listed(run.parameters) or "none",
        "Encoder": f"{encoder['name']}, {start}",
        "Input": inputs(config),
        "Budget": duration(60 * (plan.minutes or 0)) if plan.steps is None else counted(plan.steps, "step"),
        "Batch": counted(plan.batch_size or 0, "item"),
        "Optimiser": _listed(said) or "the method's default",
        "Seed": str(run.seed),
        "Hardware": ", ".join(filter(None, (hardware.get("device"), plan.precision))),
        "Versions": f"withhold {config['withhold']}" + (f", torch {hardware['torch']}" if "torch" in hardware else ""),
    }
    return {name: value for name, value in values.items() if value}


def inputs(config: dict[str, Any]) -> str:
    """The input of a run's encoder, in words."""
    decoding = config["decoding"]
    words = []
    if "size" in decoding:
        colour = "greyscale" if config["encoder"].get("channels", decoding["channels"]) == 1 else "colour"
        words.append(f"{decoding['size']} × {decoding['size']} px, {colour}")
    if "frames" in decoding:
        words.append(f"{counted(decoding['frames'], 'frame')}, {decoding['fps']:g} per second")
    if "rate" in decoding:
        words.append(f"{decoding['seconds']:g} s of sound at {decoding['rate']:,} Hz")
    if "tokens" in decoding:
        words.append(counted(decoding["tokens"], "token"))
    return ", ".join(words or [f"{value} {name}" for name, value in decoding.items()])


def command(run: "Run") -> str:
    """The command that reproduces this run; DATA stands for data without a name, such as arrays."""
    config = run.config
    chosen = {"size": config["decoding"].get("size")}
    if not config.get("lineage"):
        chosen["encoder"] = config["encoder"]["name"]
    if config["training"]["minutes"] and "outcome" in config:  # another machine would do other steps in them
        chosen |= {"minutes": None, "epochs": round(config["outcome"]["metrics"]["epoch"], 4)}
    options = Options(**config["training"] | chosen)
    words = ["withhold", "train", config["method"]]
    sources = config["data"]
    if config["training"]["labels"] and len(set(sources)) == 1:  # one source is split into all streams
        sources = sources[:1]
    words += ["DATA" if unnamed(source) else source for source in sources]
    words += [f"{name}={value}" for name, value in run.parameters.items()]
    return shlex.join(words + options.words())


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _skipped(path: Path) -> int:
    """The number of items that the run skipped; the file has a header and a line for each."""
    if not path.is_file():
        return 0
    with open(path, newline="", encoding="utf-8") as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)
