"""The table: an encoder beside the controls that its numbers mean nothing without."""

import copy
import logging
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch

from withhold import kinds, nets, views
from withhold.console import counted
from withhold.data import Samples, Sequence
from withhold.errors import UsageError
from withhold.evaluation import protocols as registry
from withhold.evaluation import supervised as labels_seen
from withhold.evaluation.features import plain_batches
from withhold.evaluation.task import Task
from withhold.methods import Classifier, Method
from withhold.nets import Encoder

REPEATS, MOST_REPEATS = 30, 100
log = logging.getLogger("withhold")

FEW_IMAGES, MOST_IMAGES = 20_000, {"cpu": 100_000, "cuda": 2_000_000}
SMALL = 200
"""Test items below which an accuracy shows its interval."""


def by_data(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of evaluations, apart for each data set, and number of its items, that they were measured on.

    Rows on one sequence of a data set are left out.
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
) -> list[dict[str, Any]]:
    """Measure an encoder by each protocol, beside the controls: a row for each pair.

    A row is {"encoder", "protocol", "metric", "value", "data", "n_train", "n_test", "n_unlabelled"} and what else a
    protocol has to say ("shots", "deviation", "strength", "sequence"). "encoder" is "trained", a control's name,
    "supervised", or what the raw items are called, such as "pixels"; "data" is what it was measured on; "n_unlabelled"
    counts the items left out because they have no label. An accuracy on fewer than 200 items has "low" and "high", the
    ends of its 95 % interval.

    All networks have their batch statistics of the same items: those that the trained one learned from. Where these
    are not there any more, all of them, the trained one too, have statistics of the training items of the evaluation,
    or of the sequences' frames. Only the supervised network has those of what it learned from. What is given is not
    changed.

    Args:
        train, test: samples, decoded as the encoder takes them; classes are matched by name. Or None and videos with
            masks, whose frames are scaled to the encoder's size and seen whole.
        protocols: names, or paths of files; see `withhold.evaluation.protocols`.
        controls: encoders to measure beside it, by the name of their rows; "untrained" is one with fresh weights.
        learned: what the encoder was trained on, a stream each; None where that is not there any more.
        supervised: also train the untrained network on the labels, and measure its features likewise.
        methods: by the name of the row, what its encoder is a part of, where that says something that a protocol
            measures, such as classes. That of a control is measured with its own encoder, and has fresh weights.
        pixels: also measure raw items.
        budget: images, counted with repeats, that fine-tuning and the supervised network see; by default each item 100
            times, until these are 20,000, and 30 times of more; at most 100,000 on a CPU or 2,000,000 on a GPU.
        flip: probability with which these see a mirror image.
        source: what a person called the test data; by default as the samples say.

    Raises:
        UsageError: an unknown protocol, or data that it cannot measure with.
    """
    found = [registry.find(name) for name in protocols]
    controls, methods, device = controls or {}, methods or {}, torch.device(device)
    if supervised and "untrained" not in controls:
        raise UsageError("A supervised network starts from fresh weights: give the untrained encoder as well.")
    for samples, purpose in ((train, "train"), (test, "test")):
        if isinstance(samples, Samples) and not len(samples):
            raise UsageError(
                f"There is nothing to {purpose} on in {samples.source}: give it at least one item a class."
            )
    given: dict[Any, list[Any]] = {
        protocol: [None if part is None else protocol.given(part, encoder.kind) for part in (train, test)]
        for protocol in found
    }
    shown: list[Any] = learned or (test if train is None else [train])  # type: ignore[assignment]

    def images(learned_on: Any) -> int:
        few = min(MOST_REPEATS * len(learned_on), FEW_IMAGES)
        return budget or min(max(REPEATS * len(learned_on), few), MOST_IMAGES[device.type])

    def refreshed(network: Encoder, items: list[Any]) -> Encoder:
        network = copy.deepcopy(network).to(device)
        nets.refresh_statistics(network, _plain(items, network, device))
        return network

    def fresh(method: Method | None) -> Method | None:
        method = copy.deepcopy(method)
        if method is not None:
            method.to(device).eval().finish(lambda: _plain(shown, method.encoder, device))
        return method

    def networks() -> Iterator[tuple[str, Encoder | None, Method | None]]:
        yield "trained", encoder if learned else refreshed(encoder, shown), methods.get("trained")
        for name, control in controls.items():
            yield name, refreshed(control, shown), fresh(methods.get(name))
        if supervised and train is not None:
            part = train.of(encoder.kind).labelled("the supervised network")
            log.info("training a supervised network on %s labels", f"{len(part):,}")
            taught = labels_seen.train(
                controls["untrained"], part, learned=False, images=images(part), seed=seed, device=device, flip=flip
            )
            yield "supervised", refreshed(taught.encoder, [part]), taught
        if pixels:
            yield "raw" if train is None else kinds.of(train.of(encoder.kind).kind).control, None, None

    rows = []
    for row, network, answers in networks():
        if not isinstance(answers, Classifier) and {protocol.name for protocol in found} == {"classifier"}:
            continue  # it has no answers of its own
        log.info("measuring: %s, %s", row, ", ".join(protocol.name for protocol in found))
        tasks: dict[Any, Task] = {}  # one for all protocols that take the same: it keeps features
        for protocol in found:
            known, asked = given[protocol]
            rest = (images(known or ()), answers, row, getattr(encoder, "size", 0), flip)
            task = tasks.setdefault(protocol.takes, Task(network, known, asked, seed, device, *rest))
            about = {
                "encoder": row, "protocol": protocol.name, "data": source or asked.source,
                "n_train": len(known or ()), "n_test": len(asked),
                "n_unlabelled": len(train or ()) + len(test) - len(known or ()) - len(asked),
            }  # fmt: skip
            rows += [_with_interval({**about, **part}) for part in protocol.measure(task)]
    return rows


def _plain(items: list[Any], encoder: Encoder, device: torch.device) -> Iterator[Any]:
    """Items as networks take them: of samples some, of sequences all frames."""
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
    """The row, and of an accuracy on few items Wilson's interval (JASA 1927): shares that 1.96 deviations reach."""
    if row["metric"] != "accuracy" or row["n_test"] >= SMALL:
        return row
    share, n, z = row["value"], row["n_test"], 1.96
    middle, reach = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return row | {"low": (middle - reach) / (1 + z**2 / n), "high": (middle + reach) / (1 + z**2 / n)}
