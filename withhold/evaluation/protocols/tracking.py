"""Tracking: the first frame's mask is carried through a video, and compared with those of its other frames."""

import numpy as np
import torch

from withhold.data import Sequence
from withhold.errors import WithholdError
from withhold.evaluation.masks import boundary, region
from withhold.evaluation.trackers import Tracker

TAKES = "sequences"
METRICS = {"J": region, "F": boundary}


def measure(tracker: Tracker, sequences: list[Sequence], side: int) -> list[dict]:
    """The means of J and F over sequences, and of each sequence, which is named.

    Of a sequence they are means over its objects and its frames that have a mask, the first, which is given, left out:
    they are what "n_test" counts.

    Args:
        side: pixels to which the frames' shorter side is scaled; masks keep their shape.
    """
    found = [_follow(tracker, sequence, side) for sequence in sequences]
    rows = [
        {"metric": metric, "value": float(np.mean([part.mean(0)[column] for part in found])),
         "n_test": sum(len(part) for part in found)}
        for column, metric in enumerate(METRICS)
    ]  # fmt: skip
    for sequence, part in zip(sequences, found, strict=True):
        for metric, value in zip(METRICS, part.mean(0).tolist(), strict=True):
            rows.append({"metric": metric, "value": value, "n_test": len(part), "sequence": sequence.name})
    return rows


def _follow(tracker: Tracker, sequence: Sequence, side: int) -> np.ndarray:
    """Each metric in each frame after the first that has a mask, mean over objects: float [frames, metrics]."""
    frames = torch.from_numpy(sequence.frames(side)).permute(0, 3, 1, 2)
    values, first = np.unique(sequence.mask(0).labels, return_inverse=True)
    objects = np.flatnonzero(values).tolist()
    rows = []
    for number, labels in enumerate(tracker(frames, torch.from_numpy(first))):
        if number not in sequence.masks or not number:
            continue
        truth = torch.from_numpy(sequence.mask(number).labels)
        if truth.shape != labels.shape:
            raise WithholdError(f"{sequence.masks[number]} is not of the first mask's size: make all masks so.")
        pairs = [(labels == thing, truth == values[thing].item()) for thing in objects]
        rows.append([np.mean([compare(*pair) for pair in pairs]) for compare in METRICS.values()])
    if not rows:
        raise WithholdError(f"{sequence.name} has no mask but the first: draw one of another frame to compare with.")
    return np.array(rows)
