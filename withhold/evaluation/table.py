"""The evaluation table: an encoder and its controls."""

import copy
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch

from withhold import kinds, nets, views
from withhold.console import counted, duration, once
from withhold.data import Samples, Sequence
from withhold.errors import UsageError
from withhold.evaluation import protocols as registry
from withhold.evaluation import supervised as labels_seen
from withhold.evaluation.features import plain_batches
from withhold.evaluation.task import Task
from withhold.methods import Classifier, Method
from withhold.nets import Encoder
from withhold.training import defaults

log = logging.getLogger("withhold")

SMALL = 200
"""The number of test items below which an accuracy gets an interval."""
Z = 1.96
"""Standard errors on each side of a 95 % interval."""


def by_data(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group rows of evaluations by dataset and number of test items.

    Rows for a single sequence of a dataset are left out.
    """
    parts: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        if "sequence" not in row:
            parts.setdefault((row["data"], row["n_test"]), []).append(row)
    splits = Counter(name for name, _ in parts)
    return {
        name if splits[name] == 1 else f"{name} ({counted(n_test, 'item')})": part
        for (name, n_test), part in parts.items()
    }


@once()  # every encoder is measured on the same data, about which protocols warn
def evaluate(
    encoder: Encoder,
    train: Samples | None,
    test: Samples | list[Sequence],
    protocols: Collection[str] = ("knn", "linear"),
    *,
    controls: Mapping[str, Encoder] | None = None,
    learned: list[Samples] | None = None,
    supervised: bool = False,
    methods: Mapping[str, Method] | None = None,
    pixels: bool = True,
    budget: int | None = None,
    flip: float = 0.5,
    seed: int = 0,
    device: str | torch.device = "cpu",
    source: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    row: str = "trained",
    told: Samples | None = None,
) -> list[dict[str, Any]]:
    """Evaluate an encoder and its controls with each protocol; returns one or more rows for each pair.

    A row is {"encoder", "protocol", "metric", "value", "data", "n_train", "n_test", "n_unlabelled"}, with further
    values of some protocols ("shots", "deviation", "strength", "sequence") and of a `nets.Pooled` encoder ("stage").
    "encoder" is `row`, a control's name, "supervised", or the name of the raw items, such as "pixels"; "data" is the
    test data; "n_unlabelled" counts the items left out because they have no label. An accuracy on fewer than 200 items,
    and any value with a "standard_error", has "low" and "high", the ends of its 95 % interval.

    Batch statistics: those of the trained encoder and of the randomly initialised one are computed on the data of the
    training. If these are not available any more, they are computed on the training items of the evaluation, or on the
    frames of the sequences. Those of the supervised network are computed on its own training data. Any other control
    keeps its own, as it would have in use.

    Args:
        train, test: samples, decoded as the encoder takes them; classes are matched by name. Or None and videos with
            masks, whose frames are scaled to the encoder's size without cropping.
        protocols: names, or paths of files; see `withhold.evaluation.protocols`.
        controls: encoders to compare with, by the name of their rows; "untrained" is randomly initialised.
        learned: the data that the encoder was trained on, one entry for each stream; [] for an encoder that keeps its
            own batch statistics; None if the data are not available any more.
        supervised: also train the randomly initialised network on the labels, and evaluate its features as well.
        methods: the methods that encoders belong to, by the name of the row, if a protocol measures their predictions.
            The method of a control has random weights and gets the control's encoder.
        pixels: also evaluate raw items.
        budget: images, counted with repeats, for fine-tuning and the supervised network; by default
            `training.defaults.images`.
        flip: probability of a horizontal flip in these trainings.
        source: name of the test data; by default that of the samples.
        report: called with every row as soon as it is measured.
        row: name of the encoder in the rows; "untrained" if it is randomly initialised itself.
        told: the labelled training data of the classifier, if available; the controls are trained on the same labels.

    Raises:
        UsageError: an unknown protocol, or data that it cannot use.
        KeyboardInterrupt, SystemExit: the evaluation was interrupted; what is missing is logged.
    """
    found = [registry.find(name) for name in protocols]
    if budget is not None and budget < 1:
        raise UsageError(f"The budget must be at least 1, not {budget}.")
    controls, methods, device = controls or {}, methods or {}, torch.device(device)
    fresh = controls.get("untrained", encoder if row == "untrained" else None)
    if supervised and fresh is None:
        raise UsageError("A supervised network starts from random weights. Give the randomly initialised encoder too.")
    for samples, purpose in ((train, "train"), (test, "test")):
        if isinstance(samples, Samples) and not len(samples):
            raise UsageError(
                f"There is nothing to {purpose} on in {samples.source}. Give it at least one item for each class."
            )
    given: dict[Any, list[Any]] = {
        protocol.takes: [None if part is None else protocol.given(part, encoder.kind) for part in (train, test)]
        for protocol in found
    }
    told = None if told is None else told.of(encoder.kind).labelled("the classifier")
    shown: list[Any] = learned or (test if train is None else [train])  # type: ignore[assignment]

    def images(learned_on: Any) -> int:
        return budget or defaults.images(len(learned_on), device)

    def refreshed(network: Encoder, items: list[Any]) -> Encoder:
        network = copy.deepcopy(network).to(device)
        nets.refresh_statistics(network, _plain(items, network, device))
        return network

    def taught() -> tuple[Encoder, Classifier]:
        assert train is not None and fresh is not None  # otherwise it is not called
        part = train.of(encoder.kind).labelled("the supervised network")
        log.info("training a supervised network on %s labels", f"{len(part):,}")
        network = labels_seen.train(
            fresh, part, learned=False, images=images(part), seed=seed, device=device, flip=flip
        )
        return network.encoder, network

    def ended(method: Method | None) -> Method | None:
        method = copy.deepcopy(method)
        if method is not None:
            method.to(device).eval().finish(lambda: _plain(shown, method.encoder, device))
        return method

    # Each encoder is made when its turn comes, with its method if that makes predictions.
    networks: dict[str, Callable[[], tuple[Encoder | None, Method | None]]] = {
        row: lambda: (refreshed(encoder, shown) if learned is None else encoder, methods.get(row))
    }
    for name, control in controls.items():
        networks[name] = lambda name=name, control=control: (  # type: ignore[misc]
            refreshed(control, shown) if name == "untrained" else control,
            ended(methods.get(name)),
        )
    if fresh is not None and supervised and train is not None:
        networks["supervised"] = taught
    if pixels:
        networks["raw" if train is None else kinds.of(train.of(encoder.kind).kind).control] = lambda: (None, None)
    if all(protocol.told for protocol in found):  # the encoder that training started from is control enough
        began = "start" if "start" in controls else "untrained"
        networks = {name: make for name, make in networks.items() if name in (row, began, "supervised")}

    answering = {row, "supervised", *methods}
    measured = {name: [one for one in found if not one.answers or name in answering] for name in networks}
    networks = {name: make for name, make in networks.items() if measured[name]}

    at = {name: value for name in ("stage", "pooling") if (value := getattr(encoder, name, None)) is not None}
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    missing = [f"{name} by {protocol.name}" for name in networks for protocol in measured[name]]
    try:
        for done, (name, make) in enumerate(networks.items()):
            left = (time.perf_counter() - started) / max(done, 1) * (len(networks) - done)
            log.info(
                "evaluating: %s, %s%s", name, ", ".join(protocol.name for protocol in measured[name]),
                f"; about {duration(left)} left" if done else "",
            )  # fmt: skip
            network, answers = make()
            tasks: dict[Any, Task] = {}  # protocols with the same input share a task, which caches its results
            kept: dict[Samples, Any] = {}
            for protocol in measured[name]:
                known, asked = given[protocol.takes]
                left_out = len(test) - len(asked)
                if protocol.told and (name != "supervised" or protocol.answers):
                    known = None if protocol.answers else told
                else:
                    left_out += len(train or ()) - len(known or ())
                rest = (images(known or ()), answers, name, getattr(encoder, "size", 0), flip, at.get("pooling"), kept)
                task = Task(network, known, asked, seed, device, *rest)
                task = tasks.setdefault((protocol.takes, None if known is None else known is told), task)
                about = {
                    "encoder": name, "protocol": protocol.name, "data": source or asked.source,
                    "n_train": len(known or ()), "n_test": len(asked),
                    "n_unlabelled": left_out,
                }  # fmt: skip
                for part in protocol.measure(task):
                    rows.append(_with_interval({**about, **at, **part}))
                    report(rows[-1])
                del missing[0]
    except (KeyboardInterrupt, SystemExit):
        log.warning("not evaluated: %s", ", ".join(missing))
        raise
    return rows


def _plain(items: list[Any], encoder: Encoder, device: torch.device) -> Iterator[Any]:
    """Yield batches as networks take them: some items of samples, or all frames of sequences."""
    if isinstance(items[0], Samples):
        yield from plain_batches([samples.of(encoder.kind) for samples in items], device)
    else:
        frames = [torch.from_numpy(sequence.frames(encoder.size)).permute(0, 3, 1, 2) for sequence in items]
        for shape in dict.fromkeys(part.shape[1:] for part in frames):
            alike = torch.cat([part for part in frames if part.shape[1:] == shape])
            order = torch.randperm(len(alike), generator=torch.Generator().manual_seed(0))
            for rows in order.tensor_split(math.ceil(len(alike) / 256)):
                yield views.to_float(alike[rows]).to(device)


def _with_interval(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its 95 % interval, if it has one.

    With a "standard_error", the interval is 1.96 standard errors to both sides. For an accuracy on few items it is
    `wilson`.
    """
    value, n = row["value"], row["n_test"]
    if "standard_error" in row:
        low, high = value - Z * row["standard_error"], value + Z * row["standard_error"]
    elif row["metric"] == "accuracy" and n < SMALL:
        low, high = wilson(value, n)
    else:
        return row
    return row | {"low": low, "high": high}


def wilson(share: float, count: float) -> tuple[float, float]:
    """The ends of the 95 % interval of an accuracy on `count` items (Wilson, JASA 1927)."""
    whole, middle = 1 + Z**2 / count, share + Z**2 / (2 * count)
    reach = Z * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)
