"""The evaluation tables of a report."""

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

from withhold import methods as registry
from withhold.console import column, counted
from withhold.errors import UsageError
from withhold.evaluation import by_data

ENCODERS = {
    "trained": "Trained encoder",
    "untrained": "Randomly initialised encoder",
    "untrained, near": "Randomly initialised encoder, nearby positions only",
    "pixels": "Raw pixels",
    "tf-idf": "TF-IDF",
    "spectrogram": "Log-mel spectrogram",
    "supervised": "Supervised network",
    "colors": "Raw colours",
    "identity": "First mask, copied",
}
PROTOCOLS = {"knn": "k-NN", "linear": "Linear probe", "lowshot": "Low-shot", "finetune": "Fine-tuned"}
TERMS = {"knn": "k-NN accuracy", "rank": "Effective rank", "spread": "Spread", "psnr": "PSNR"}
MEANS = {"maps": "head on its frozen maps", "boxes": "its own boxes", "masks": "its own masks"}
"""What the predictions of an encoder come from."""


def tables(results: Sequence[dict[str, Any]], start: str = "start") -> list[dict[str, Any]]:
    """Rows of evaluations as tables, one line per encoder; `start` names the weights that a run started from.

    Each dataset has a table of accuracies and one for each protocol with other metrics. The latter have a line for each
    source of an encoder's predictions.
    """
    titles = ENCODERS | {"start": f"{start.capitalize()}, frozen"}
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for data, rows in by_data(results).items():
        for row in rows:
            parts.setdefault((data, "" if row["metric"] == "accuracy" else row["protocol"]), []).append(row)
    return [_table(data, protocol, part, titles) for (data, protocol), part in parts.items()]


def _table(data: str, protocol: str, results: Sequence[dict[str, Any]], titles: dict[str, str]) -> dict[str, Any]:
    means = [result.get("by") for result in results if protocol]  # they become lines
    if protocol:
        results = [{name: value for name, value in result.items() if name != "by"} for result in results]
    columns = {column(result): _title(result) for result in results}
    lines: dict[str, dict[str, Any]] = {}
    best: dict[str, float] = {}
    for result, by in itertools.zip_longest(results, means):
        trained, measure = result["encoder"] == "trained", column(result)
        if trained and "method" in result:
            name = card(result["method"])["name"]
        else:
            name = titles.get(result["encoder"], result["encoder"])
        name += "" if by is None else f", {MEANS.get(by, by)}"
        line = lines.setdefault(name, {"name": name, "trained": trained, "cells": {}})
        line["cells"][measure] = result
        if result["encoder"] != "supervised":
            better = min if result["metric"] == "error" else max
            best[measure] = better(result["value"], best.get(measure, result["value"]))
    return {
        "data": data,
        "protocol": protocol,
        "over_maps": "maps" in means,
        "columns": columns,
        "lines": list(lines.values()),
        "best": best,
        "n_train": max(result["n_train"] for result in results),
        "n_test": results[0]["n_test"],
        "supervised": any(result["encoder"] == "supervised" for result in results),
        "draws": any("deviation" in result for result in results),
        "open": any("low" in result for result in results),
    }


def card(name: str) -> dict[str, str]:
    """The method's name, first sentence and paper; only its name if its file is missing."""
    try:
        cls = registry.find(name)
    except UsageError:
        return {"name": name, "about": "", "paper": ""}
    about = (inspect.getdoc(cls) or "").split("\n\n")[0]
    # Classes have the paper's name (SimCLR, MoCo), but only the file's name separates several words.
    title = titled(cls.name) if "_" in cls.name else cls.__name__
    return {"name": title, "about": " ".join(about.split()), "paper": cls.paper}


def _title(result: dict[str, Any]) -> str:
    name = PROTOCOLS.get(result["protocol"], titled(result["protocol"]))
    if "shots" in result:
        labels = f"{counted(result['shots'], 'label')} per class"
        return labels if result["protocol"] == "lowshot" else f"{name}, {labels}"
    words = [name] if result["metric"] == "accuracy" else [name, result["metric"]]
    words += [f"stage {result['stage']}"] if "stage" in result else []
    words += [result[part] for part in ("column", "by", "pooling", "direction") if part in result]
    return ", ".join(words + ["whitened"] * result.get("whitened", False))


def titled(name: str) -> str:
    """A name from code as words: "nearest_colour" -> "Nearest colour"."""
    name = TERMS.get(name, name.replace("_", " ").replace("/", ": "))
    return name if name[:1].isupper() or name in TERMS.values() else name[:1].upper() + name[1:]
