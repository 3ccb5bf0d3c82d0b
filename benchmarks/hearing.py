"""Linear probe accuracy on frozen audio features: pretrained weights, randomly initialised weights, and spectrograms.

ESC-10 with its five folds, each tested once; spoken digits (FSDD) with their official split. WITHHOLD_DATA names the
folder of datasets.
"""

import argparse
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record
from torch import Tensor

from withhold import data, evaluation, kinds, nets
from withhold.data import Samples
from withhold.evaluation.protocols import linear
from withhold.evaluation.task import Task

PRETRAINED, FRESH, RAW = "audio-efficientnet-lite0", "audio-cnn", "spectrogram"
Split = tuple[np.ndarray, np.ndarray]


class Known(Task):
    """A task with precomputed features: float32 [n, d], one row per item of the source."""

    def features(self, samples: Samples) -> Tensor:
        return self.encoder[samples.sources]


def esc10(root: Path) -> tuple[Samples, list[Split]]:
    """ESC-10 in windows of five seconds, which hold most sounds as a whole."""
    with open(root / "esc10" / "meta.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [str(root / "esc10" / "audio" / row["filename"]) for row in rows]
    folds = np.array([int(row["fold"]) for row in rows])
    sounds = data.load((paths, [row["category"] for row in rows]), "audio", rate=16_000, seconds=5.0)
    return sounds, [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(1, 6)]


def fsdd(root: Path) -> tuple[Samples, list[Split]]:
    """FSDD. Files are named DIGIT_SPEAKER_NUMBER.wav; numbers below 5 are the test set."""
    sounds = data.load(root / "fsdd" / "recordings.zip", "audio", rate=8000, seconds=1.0)
    parts = [Path(name).stem.split("_") for name in sounds.names]
    numbers = np.array([int(part[2]) for part in parts])
    sounds = sounds.with_labels(np.array([int(part[0]) for part in parts]), tuple("0123456789"))
    return sounds, [(np.flatnonzero(numbers >= 5), np.flatnonzero(numbers < 5))]


def embedded(name: str, sounds: Samples, splits: list[Split]) -> Iterator[Tensor]:
    """The features of all sounds, for each split; random weights take batch statistics of its training part."""
    if name == RAW:
        yield from [kinds.of("audio").raw(sounds)] * len(splits)
        return
    torch.manual_seed(0)
    encoder = nets.build(name, rate=round(sounds.rate), pretrained=name == PRETRAINED)
    if name == PRETRAINED:
        yield from [nets.features(encoder, sounds)] * len(splits)
        return
    for train, _ in splits:
        nets.refresh_statistics(encoder, evaluation.plain_batches([sounds.select(train)], "cpu"))
        yield nets.features(encoder, sounds)


def probe(sounds: Samples, split: Split, features: Tensor) -> float:
    """The test accuracy of a linear probe trained on the training part."""
    train, test = (sounds.select(rows) for rows in split)
    return linear.measure(Known(features, train, test, 0, torch.device("cpu"), 0))[0]["value"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    root = Path(os.environ.get("WITHHOLD_DATA", ""))
    rows: list[dict[str, Any]] = []
    for load in (esc10, fsdd):
        sounds, splits = load(root)
        for name in (PRETRAINED, FRESH, RAW):
            parts = zip(splits, embedded(name, sounds, splits), strict=True)
            found = [probe(sounds, split, features) for split, features in parts]
            rows.append({"data": load.__name__, "features": name, "accuracy": float(np.mean(found)), "splits": found})
            print(rows[-1])
    print(record("hearing", {"rows": rows}))


if __name__ == "__main__":
    main()
