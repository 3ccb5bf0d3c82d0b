"""Tracking: the first frame's mask is carried through a video, and compared with those of its other frames."""

import numpy as np
import torch

from withhold.data import Sequence
from withhold.errors import UsageError, WithholdError
from withhold.evaluation.masks import boundary, region
from withhold.evaluation.task import Task
from withhold.evaluation.trackers import Tracker, by_color, by_encoder, copied

TAKES = "video + mask"
METRICS = {"J": region, "F": boundary}


def measure(task: Task) -> list[dict]:
    """How well an encoder's maps carry the masks: see `agreement`.

    Beside "untrained" stands "untrained, near", which asks the first frame too only about places nearby: what of the
    number is the rule that things move little. For raw items stand "colors" (raw patches) and "identity" (the first
    mask copied).
    """
    encoder = task.encoder
    if encoder is None:
        trackers = {"colors": by_color(task.size), "identity": copied}
    elif encoder.kind != "image":
        raise UsageError(
            f"tracking needs a map of every frame, and {type(encoder).__name__} gives none: take a run of a method of "
            "images, or of tracking_by_colorizing."
        )
    else:
        trackers = {task.row: by_encoder(encoder, task.device)}
        if task.row == "untrained":
            trackers["untrained, near"] = by_encoder(encoder, task.device, near=True)
    return [
        {"encoder": name, **row}
        for name, tracker in trackers.items()
        for row in agreement(tracker, task.test, task.size)
    ]


def agreement(tracker: Tracker, sequences: list[Sequence], side: int) -> list[dict]:
    """The means of J and F over sequences, and of each sequence, which is named.

    Of a sequence they are means over its objects and its frames that have a mask, the first, which is given, left out:
    they are what "n_test" counts.

    Args:
        side: pixels to which the frames' shorter side is scaled; masks keep their shape.
    """
    found = [_follow(tracker, sequence, side) for sequence in sequences]
    means = [
        {"metric": metric, "value": float(np.mean([part.mean(0)[column] for part in found])),
         "n_test": sum(len(part) for part in found)}
        for column, metric in enumerate(METRICS)
    ]  # fmt: skip
    for sequence, part in zip(sequences, found, strict=True):
        for metric, value in zip(METRICS, part.mean(0).tolist(), strict=True):
            means.append({"metric": metric, "value": value, "n_test": len(part), "sequence": sequence.name})
    return means


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
