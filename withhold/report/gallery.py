"""Samples in a report: the method's picture, a map of embeddings, nearest neighbours."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from withhold import kinds, nets, pictures
from withhold.data import Samples, together
from withhold.errors import UsageError
from withhold.methods import Encoder, Method
from withhold.orders import Shuffled, whole
from withhold.page import cell, excerpt
from withhold.report import charts, embedding

if TYPE_CHECKING:
    from withhold.runs import Run

MOST, BATCH, ROWS, CLIPS, QUERIES, NEIGHBOURS, LETTERS = 500, 32, 8, 3, 6, 8, 60


def draw(samples: Samples, seed: int, most: int = MOST) -> Samples:
    """Up to `most` random samples, determined by the seed."""
    return samples.select(torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:most].numpy())


def of_run(run: "Run", streams: Sequence[Samples], seed: int) -> pictures.Columns:
    """The `columns` of a run's method.

    Raises:
        UsageError: the method identifies items by number, and these are not the items that it was trained on.
    """
    for (stream, need), part in zip(run.cls.needs.items(), streams, strict=True):
        if "number" in need.parts and part.fingerprint != run.config["streams"][stream]["fingerprint"]:
            raise UsageError(
                f"{run.config['method']} can only show the items that it was trained on, and {part.source} has others. "
                "Omit the data to show the training items."
            )
    return columns(run.method, streams, seed)


def columns(method: Method, streams: Sequence[Samples], seed: int) -> pictures.Columns:
    """Inputs, predictions and targets of a few samples; {} if the method has no picture.

    Args:
        streams: the method's streams in its order; there is no picture if labels that it needs are missing.
    """
    batch: dict[str, Any] = {}
    try:
        held = [part.serving(need, "it") for need, part in zip(method.needs.values(), streams, strict=True)]
        count = whole(method.order, min(BATCH, *map(len, held)))  # of each stream, as in training
        for (stream, need), part in zip(method.needs.items(), held, strict=True):
            order = method.order.get(stream, Shuffled())
            groups = part.labels if order.by in ("", "label") else method.get_buffer(order.by).cpu().numpy()
            rows = order.epoch(count if order.by else len(part), groups, count, np.random.default_rng(seed))
            some = rows[np.arange(count) % len(rows)]
            batch[stream] = together(part.batch(some), part.beside(need, some))
    except UsageError:
        return {}
    method = copy.deepcopy(method)
    says = type(method).predict is not Method.predict
    method.seed(seed)
    if says:  # as in training, normalisation uses the statistics of views, not of plain items
        nets.refresh_statistics(method, [batch], lambda batch: method.predict(method.hide(batch)[0]))
    method.seed(seed)
    with torch.no_grad():  # a method may still enable gradients itself
        visible, withheld = method.hide(batch)
        return pictures.select(method.picture(visible, withheld, method.predict(visible) if says else None), ROWS)


def picture(shown: pictures.Columns) -> list[list[dict[str, Any]]]:
    """The result of `columns` as rows of cells for a page, which mark each prediction as correct or wrong.

    All samples are side by side in one group of rows. Clips take the whole width of a row, so there are only a few,
    each in its own group.
    """
    if any(isinstance(column, Tensor) and column.ndim == 5 and column.shape[1] > 1 for column in shown.values()):
        few = pictures.select(shown, CLIPS)
        count = len(next(iter(few.values())))
        return [_rows({title: column[index : index + 1] for title, column in few.items()}) for index in range(count)]
    return [_rows(shown)] if shown else []


def _rows(shown: pictures.Columns) -> list[dict[str, Any]]:
    said, true = shown.get("said"), shown.get("true")
    rows = []
    for title, column in shown.items():
        cells = [_cell(entry) for entry in column]
        if title == "said" and isinstance(said, list) and isinstance(true, list):
            cells = [cell | {"right": answer == truth} for cell, answer, truth in zip(cells, said, true, strict=True)]
        rows.append({"title": title, "cells": cells})
    return rows


def embedding_map(samples: Samples, features: Tensor, seed: int) -> dict[str, Any]:
    """A map of the samples' features, coloured by label: the ten largest classes, and the rest in grey."""
    groups, legend = np.zeros(len(samples), int), []
    if samples.labels is not None:
        present, counts = np.unique(samples.labels[samples.labels >= 0], return_counts=True)
        common = sorted(present[np.argsort(-counts, kind="stable")[: len(charts.SERIES)]].tolist())
        colour = {label: index for index, label in enumerate(common)}
        groups = np.array([colour.get(int(label), -1) for label in samples.labels])
        legend = [{"name": samples.classes[label], "colour": f"series-{index}"} for label, index in colour.items()]
        rest = {"other classes": len(present) > len(common), "no label": (samples.labels < 0).any()}
        if (groups < 0).any():
            legend.append({"name": " or ".join(name for name, there in rest.items() if there), "colour": "rest"})
    about = f"Map of {len(samples):,} embeddings" + (f" in {len(legend)} groups" if legend else "")
    places = embedding.project(features, seed)
    return {"svg": charts.points(places, groups, about=about), "legend": legend, "count": len(samples)}


def neighbours(samples: Samples, features: Tensor, encoder: Encoder) -> list[dict[str, Any]]:
    """A few samples, of different classes if labelled, each with its nearest neighbours by cosine similarity.

    `withhold.kinds` decides how each is shown.
    """
    order = list(range(len(samples)))
    if samples.labels is not None:
        firsts = set(np.unique(samples.labels, return_index=True)[1].tolist())
        order.sort(key=lambda index: index not in firsts)
    queries = order[:QUERIES]
    cosines, nearest = embedding.neighbours(features, torch.tensor(queries), NEIGHBOURS)
    wanted = sorted({*queries, *nearest.flatten().tolist()})
    cells = dict(zip(wanted, _items(samples, wanted, encoder), strict=True))
    return [
        {
            "query": cells[query],
            "nearest": [cells[i] | {"cosine": f"{value:.2f}"} for i, value in zip(row, values, strict=True)],
        }
        for query, row, values in zip(queries, nearest.tolist(), cosines.tolist(), strict=True)
    ]


def _items(samples: Samples, indices: Sequence[int], encoder: Encoder) -> list[dict[str, Any]]:
    shown = kinds.of(samples.kind)
    cells = []
    for i, item in zip(indices, shown.items(samples, indices, encoder), strict=True):
        about = {"name": samples.names[i], "label": ""}
        if samples.labels is not None and samples.labels[i] >= 0:
            about["label"] = samples.classes[samples.labels[i]]
        cell = shown.preview(item)
        cells.append({"caption": excerpt(cell.get("text", about["name"]), LETTERS), **cell, **about})
    return cells


def _cell(entry: Tensor | str) -> dict[str, Any]:
    """A caption, or an image embedded in the page; frames are side by side."""
    if isinstance(entry, str):
        return {"caption": entry}
    return cell(pictures.to_image(entry), min(len(entry), pictures.FRAMES) if entry.ndim == 4 else 1)
