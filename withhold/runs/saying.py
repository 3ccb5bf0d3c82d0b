"""The log messages before a training starts."""

import itertools
import logging
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from withhold import kinds
from withhold.console import counted, duration
from withhold.data import Samples, Series
from withhold.report.report import inputs

log = logging.getLogger("withhold")

CLASSES = 8
"""The most classes that are named."""
SHORT, LONG, LETTERS = 5, 7, (2, 3)
"""The least letters of a word and of a long word that may be mistyped, and the most letters that differ in each."""
SELDOM = 1 / 3
"""A word may be a mistyped form of another one if it has at most this share of the other's items."""
MANY = 200
"""The most classes for which similar pairs are looked for: among more, some words are always similar."""


def say(config: dict[str, Any], streams: dict[str, Samples], device: str) -> None:
    """Log the data of a run (items and classes of each stream), its settings and its device."""
    plan, encoder = config["training"], config["encoder"]
    for stream, samples in streams.items():
        cut = f" in {len(samples.windows()):,} windows" if len(samples.windows()) > len(samples) else ""
        skipped = f", {len(samples.skipped)} skipped" if samples.skipped else ""
        known = 0 if samples.labels is None else int((samples.labels >= 0).sum())
        labels = f", {known:,} of them with a label" if 0 < known < len(samples) else ""
        labels += f", no labels ({samples.unlabelled})" if samples.unlabelled else ""
        log.info("%s: %s items%s from %s%s%s", stream, f"{len(samples):,}", cut, samples.source, skipped, labels)
        if samples.labels is not None and known:
            log.info("%s", _classes(samples.labels, samples.classes))
            counts = np.bincount(samples.labels[samples.labels >= 0], minlength=len(samples.classes)).tolist()
            warn_of_spellings(samples.classes, counts)
        if "domain" in samples.parts and len(np.unique(samples.parts["domain"].values)) < 2:
            log.warning("%s: there is only one domain, but the method needs several: give one source for each", stream)
        for column, classes in config["targets"].items():
            if column in samples.targets:
                target = samples.targets[column]
                sort = "numbers" if classes is None else _classes(target.values, classes)
                log.info("column %s: %s; %s", column, sort, counted(int((~target.known).sum()), "empty cell"))
        left = [name for name, target in samples.targets.items() if target.names_items]
        if left and config["parameters"].get("columns") is None:
            log.warning(
                "columns left out because they name items or files: %s (choose the columns to learn with columns=A,B)",
                ", ".join(left),
            )
        if isinstance(samples, Series) and samples.longest <= samples.window / 2:
            length = kinds.of(samples.kind).length
            fits = samples.longest / samples.rate if length == "seconds" else samples.longest
            log.warning(
                "the longest item has %s of the %s %s of a window; the rest is padding: %s=%.5g suits the data better",
                f"{samples.longest:,}", f"{samples.window:,}", length.replace("seconds", "samples"), length, fits,
            )  # fmt: skip
    log.info(
        "%s: encoder %s for %s, batch %s, %s, %s, seed %s",
        config["method"], encoder["name"], inputs(config), plan["batch_size"],
        duration(60 * plan["minutes"]) if plan["steps"] is None else counted(plan["steps"], "step"),
        f"{device} {plan['precision']}", plan["seed"],
    )  # fmt: skip


def _classes(labels: np.ndarray, classes: Sequence[str]) -> str:
    """The classes and their numbers of items, rarest first, which shows mistyped ones."""
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    if len(numbers) == 1:
        return f"all labels are {classes[numbers[0]]}"
    rare = [f"{classes[numbers[i]]} {counts[i]:,}" for i in np.argsort(counts, kind="stable")]
    more = f" ... {rare[-1]}" if len(rare) > CLASSES else ""
    return f"{len(rare)} classes, the rarest first: {', '.join(rare[:CLASSES])}{more}"


def warn_of_spellings(classes: Sequence[str], counts: Sequence[int]) -> None:
    """Log classes that may be the same: see `written_alike`."""
    for alike in written_alike(classes, counts):
        log.warning("%s are %s classes: if they mean the same, use one spelling", " and ".join(alike), len(alike))


def written_alike(classes: Sequence[str], counts: Sequence[int] | None = None) -> list[list[str]]:
    """Find classes that may be the same, spelled in different ways.

    These are classes that differ only in capital letters, spaces, hyphens or underscores, and pairs of words that
    differ in at most `LETTERS[0]` letters, or `LETTERS[1]` if both are long. A changed letter counts twice.

    Args:
        counts: the number of items of each class. With it, similar words of which neither is `SELDOM`, such as horse
            and house, are two classes.
    """
    items = dict(zip(classes, counts or [0] * len(classes), strict=True))
    found: dict[str, list[str]] = {}
    for name in classes:
        found.setdefault(re.sub(r"[\s_-]+", " ", name.casefold()), []).append(name)
    alike = [names for names in found.values() if len(names) > 1]
    words = [word for word in found if len(word) >= SHORT and not any(map(str.isdigit, word))]
    for first, second in itertools.combinations(words if len(words) <= MANY else [], 2):
        same = sum(block.size for block in SequenceMatcher(None, first, second, False).get_matching_blocks())
        similar = len(first) + len(second) - 2 * same <= LETTERS[min(len(first), len(second)) >= LONG]
        fewer, more = sorted(sum(items[name] for name in found[word]) for word in (first, second))
        if similar and fewer <= SELDOM * more:
            alike.append([found[first][0], found[second][0]])
    return alike
