"""Choices that fit a run into its minutes: training time, image size and batch size, if they are not given."""

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
"""Seconds reserved for the work after training: batch statistics, weights, the report."""
LITTLE = 0.05
"""The largest share of the time that a choice may take."""
SOME, STEPS = 256, 3
"""Items of each stream, and steps, of a timed training."""


class Repeated(data.Feeder):
    """Repeats the first batch, so that a step is timed without decoding its items."""

    def iterate(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        return itertools.repeat(self.batch(0), stop - start)


def left(options: Options, began: float) -> float:
    """Seconds that remain for training: at least half of the minutes, however long decoding the data took."""
    minutes = options.minutes or 0.0
    return max(30 * minutes, 60 * minutes - ENDING - (time.perf_counter() - began))


def speed(
    cls: type[Method],
    streams: dict[str, Samples],
    encoder: dict[str, Any],
    parameters: dict[str, Any],
    options: Options,
) -> float:
    """Measure the items per second of a training on one device, with a few steps of a small batch."""
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
    """Return the options with the fastest of `precisions`, and its items per second.

    A precision other than the first must be 10 % faster, and is only tried if that takes little of the `seconds` left.
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
    """Reduce the image size in `encoder` and `decoding` to the largest one at which `seconds` allow enough training.

    Sizes are timed in ascending order on a few items, before the whole dataset is decoded. The size stays as it is if
    these few items cannot be trained on, and for data that are not images or are already decoded.
    """
    own = decoding.get("size", 0)
    smaller = [size for size in defaults.SIZES if size < own]
    if {*kinds(cls, decoding).values()} != {"image"} or any(isinstance(source, Samples) for source in sources):
        return
    taken = 0
    try:
        with quiet(logging.ERROR):  # messages about the data are logged when the whole dataset is loaded
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
        passes *= (size / own) ** 2  # at the original size, in proportion to the pixels
        minutes = 60 * (options.minutes or 0)
        log.info(
            "images are scaled to %s px: at %s px, %s allow about %.1f epochs; %s would take about %s (see --size)",
            taken, own, duration(minutes), passes, defaults.PASSES, duration(minutes * defaults.PASSES / passes),
        )  # fmt: skip
        for part in (encoder, decoding):
            part |= {"size": taken} if "size" in part else {}
