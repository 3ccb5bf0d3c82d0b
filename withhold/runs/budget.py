"""What a run's minutes hold: the time for training, the size of its images and its batch, where nobody chose these."""

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from withhold import data, training
from withhold.console import duration, quiet
from withhold.data import Samples
from withhold.errors import WithholdError
from withhold.methods import Method
from withhold.options import Options
from withhold.orders import whole
from withhold.runs.build import build_method, kinds, load_streams, served, tell
from withhold.training import Plan, defaults
from withhold.training.fabric import make_fabric

log = logging.getLogger("withhold")

ENDING = 8.0
"""Seconds that are kept for what follows the training: batch statistics, weights, the report."""
LITTLE = 0.05
"""The share of the time that a choice may take."""
SOME, STEPS = 256, 3
"""Items of each stream that a training is timed on, and its steps."""


class Repeated(data.Feeder):
    """The first batch again and again: a step is timed without the decoding of its items."""

    def iterate(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        return itertools.repeat(self.batch(0), stop - start)


def left(options: Options, began: float) -> float:
    """Seconds of the minutes that remain for training: half of them at least, however long the data took to decode."""
    minutes = options.minutes or 0.0
    return max(30 * minutes, 60 * minutes - ENDING - (time.perf_counter() - began))


def speed(
    cls: type[Method],
    streams: dict[str, Samples],
    encoder: dict[str, Any],
    parameters: dict[str, Any],
    options: Options,
) -> float:
    """Items a second of a training on one device, from a few steps of a small batch."""
    learner = build_method(cls, encoder, parameters, options.seed, tell(cls, streams, parameters))
    some = {
        name: held.select(np.linspace(0, len(held) - 1, min(SOME, len(held))).astype(int))
        for name, held in served(cls, streams).items()
    }
    count = whole(cls.order, min(defaults.SMALL, *map(len, some.values())))
    device = defaults.device()
    precision = options.precision or defaults.precision(device, learner.encoder)
    fabric = make_fabric(device.type, precision=precision)
    feeder = Repeated(
        some, cls.needs, count, options.seed, device=fabric.device, orders=cls.order, groups=learner.get_buffer
    )
    rows = training.fit(learner, feeder, Plan(steps=STEPS, seed=options.seed), fabric=fabric).rows
    return max(row["items_per_second"] for row in rows)


def timed(
    cls: type[Method],
    streams: dict[str, Samples],
    encoder: dict[str, Any],
    parameters: dict[str, Any],
    options: Options,
    precisions: Sequence[str],
    seconds: float,
) -> tuple[Options, float]:
    """The options with that one of `precisions` in which the training does most in a second; and how many items.

    Another than the first has to be faster by a tenth, and is tried where that takes little of the `seconds` left.
    """
    began, chosen, best = time.perf_counter(), options, 0.0
    for precision in precisions:
        if best and time.perf_counter() - began > LITTLE * seconds:
            break
        tried = replace(options, precision=precision)
        try:
            items = speed(cls, streams, encoder, parameters, tried)
        except WithholdError:  # a loss that is not finite
            continue
        if items > 1.1 * best:
            chosen, best = tried, items
    return chosen, best


def fit_size(
    cls: type[Method],
    sources: Sequence[Any],
    encoder: dict[str, Any],
    decoding: dict[str, Any],
    parameters: dict[str, Any],
    options: Options,
    seconds: float,
) -> None:
    """Give `encoder` and `decoding` the largest size up to their own of which `seconds` hold enough to learn from.

    Sizes are timed from the smallest on, on a few items, before all of them are decoded. It stays where these few are
    nothing to learn from, and for data that are not images, or are decoded already.
    """
    own = decoding.get("size", 0)
    smaller = [size for size in defaults.SIZES if size < own]
    if {*kinds(cls, decoding).values()} != {"image"} or any(isinstance(source, Samples) for source in sources):
        return
    taken = 0
    try:
        with quiet(logging.ERROR):  # what is to be said of the data is said when all of them are loaded
            for size in smaller and [*smaller, own]:
                sized = [part | {"size": size} if "size" in part else part for part in (encoder, decoding)]
                streams = load_streams(cls, sources, sized[1], labels=options.labels, whole=False)
                items = seconds * speed(cls, streams, sized[0], parameters, options)
                count = max(map(len, served(cls, streams).values()))
                passes = items / count
                if taken and not defaults.enough(items / defaults.batch_size(cls, count, "image", items=0), passes):
                    break
                taken = size
    except WithholdError:
        return
    if taken not in (0, own):
        passes *= (size / own) ** 2  # of the own size, by the pixels
        minutes = 60 * (options.minutes or 0)
        log.info(
            "images are scaled to %s px: at %s px, %s hold about %.1f passes; %s would take about %s (see --size)",
            taken, own, duration(minutes), passes, defaults.PASSES, duration(minutes * defaults.PASSES / passes),
        )  # fmt: skip
        for part in (encoder, decoding):
            part |= {"size": taken} if "size" in part else {}
