"""The table: an encoder beside the controls that its numbers mean nothing without."""

import copy
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import torch

from withhold import nets, views
from withhold.console import counted
from withhold.data import Samples, Sequence
from withhold.errors import UsageError
from withhold.evaluation import controls
from withhold.evaluation import protocols as registry
from withhold.evaluation import supervised as labels_seen
from withhold.evaluation.features import plain_batches
from withhold.evaluation.task import Task, labelled
from withhold.evaluation.trackers import Tracker, by_color, by_encoder, copied
from withhold.methods import Classifier
from withhold.nets import Encoder, ImageEncoder

REPEATS = 30
log = logging.getLogger("withhold")

LEAST_IMAGES, MOST_IMAGES = 20_000, {"cpu": 100_000, "cuda": 2_000_000}


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
    train: Samples,
    test: Samples,
    protocols: Collection[str] = ("knn", "linear"),
    *,
    untrained: Encoder | None = None,
    supervised: bool = False,
    classifier: Classifier | None = None,
    pixels: bool = True,
    budget: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> list[dict[str, Any]]:
    """Measure frozen features by each protocol, beside the controls: a row for each pair.

    A row is {"encoder", "protocol", "metric", "value", "data", "n_train", "n_test", "n_unlabelled"} and what else a
    protocol has to say ("shots", "deviation", "strength"). "encoder" is "trained", "untrained", "supervised" or
    "pixels" ("tf-idf" of texts, "spectrogram" of sounds); "data" is what it was measured on; "n_unlabelled" counts the
    items left out because they have no label.

    Args:
        train, test: samples with labels, or pairs, decoded as the encoder takes them; classes are matched by name.
        untrained: the same architecture with fresh weights: the control, measured after its batch statistics have been
            set on training images; it is not changed.
        supervised: also train the untrained network on the labels, and measure its features likewise.
        classifier: the method that trained the encoder, where it answers with classes itself.
        pixels: also measure raw pixels, or what stands for them.
        budget: images, counted with repeats, that fine-tuning and the supervised network see; by default 30 times the
            training items, at least 20,000 and at most 100,000 on a CPU or 2,000,000 on a GPU.

    Raises:
        UsageError: an unknown protocol, or labels that cannot be measured with.
    """
    measures = {name: registry.find(name) for name in protocols}
    if supervised and untrained is None:
        raise UsageError("A supervised network starts from fresh weights: give the untrained encoder as well.")
    n_items = len(train) + len(test)
    asked = {registry.takes(name) for name in protocols}
    if asked != {"pairs"} or test.labels is not None:
        train, test = labelled(train, test)
    device = torch.device(device)
    budget = budget or min(max(REPEATS * len(train), LEAST_IMAGES), MOST_IMAGES[device.type])

    encoders: dict[str, Encoder | None] = {"trained": encoder}
    classifiers = {"trained": classifier}
    if untrained is not None:
        control = copy.deepcopy(untrained).to(device)
        nets.refresh_statistics(control, plain_batches([train], device))
        encoders["untrained"] = control
    if supervised and untrained is not None:
        log.info("training a supervised network on %s labels", f"{len(train):,}")
        learner = labels_seen.Supervised
        taught = labels_seen.train(learner, untrained, train, images=budget, seed=seed, device=device)
        nets.refresh_statistics(taught.encoder, plain_batches([train], device))
        encoders["supervised"], classifiers["supervised"] = taught.encoder, taught
    if pixels and asked != {"pairs"}:  # whose halves have no space in common
        encoders[controls.NAMES.get(test.kind, "pixels")] = None
    rows = []
    for row, network in encoders.items():
        if set(measures) == {"classifier"} and row not in classifiers:
            continue  # it has no answers of its own
        log.info("measuring: %s, %s", row, ", ".join(measures))
        task = Task(network, train, test, seed, device, budget, classifiers.get(row))
        about = {
            "data": test.source, "n_train": len(train), "n_test": len(test),
            "n_unlabelled": n_items - len(train) - len(test),
        }  # fmt: skip
        for name, measure in measures.items():
            rows += [{"encoder": row, "protocol": name, **about, **part} for part in measure(task)]
    return rows


def evaluate_sequences(
    encoder: ImageEncoder,
    sequences: list[Sequence],
    protocols: Collection[str] = ("tracking",),
    *,
    source: str = "sequences",
    untrained: ImageEncoder | None = None,
    device: str | torch.device = "cpu",
) -> list[dict[str, Any]]:
    """Measure how well masks are carried through videos by an encoder's maps, beside the controls: rows as above.

    "encoder" is "trained", "untrained", "colors" (raw patches) or "identity" (the first mask copied); "sequence" is
    there where a row is about one of them, not about their mean.

    Args:
        sequences: with masks; their frames are scaled to the encoder's size, and seen whole.
        source: what a person called them.
        untrained: the same architecture with fresh weights; its batch statistics are set on the frames.
    """
    device, side = torch.device(device), encoder.size
    trackers: dict[str, Tracker] = {"trained": by_encoder(copy.deepcopy(encoder), device)}
    if untrained is not None:
        control = copy.deepcopy(untrained).to(device)
        frames = (torch.from_numpy(sequence.frames(side)).permute(0, 3, 1, 2) for sequence in sequences)
        nets.refresh_statistics(control, (views.to_float(part).to(device) for part in frames))
        trackers["untrained"] = by_encoder(control, device)
    trackers |= {"colors": by_color(side), "identity": copied}
    rows = []
    for row, tracker in trackers.items():
        log.info("measuring: %s, %s", row, ", ".join(protocols))
        for name in protocols:
            about = {"encoder": row, "protocol": name, "data": source, "n_train": 0}
            rows += [about | part for part in registry.find(name)(tracker, sequences, side)]
    return rows
