"""Tracking: the first frame's mask is propagated through a video and compared with the masks of other frames."""

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
    """The accuracy of masks that are propagated by an encoder's maps: see `agreement`.

    The row "untrained, near" compares only nearby places of the first frame as well. It shows how much of the value is
    due to the assumption that objects move little. The raw controls are "colors" (raw patches) and "identity" (the
    first mask copied).
    """
    encoder = task.encoder
    if encoder is None:
        trackers = {"colors": by_color(task.size), "identity": copied}
    elif encoder.kind != "image":
        raise UsageError(
            f"The protocol tracking needs a map of every frame, but {type(encoder).__name__} has none. Use a run of an "
            "image method, or of tracking_by_colorizing."
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
    """The means of J and F over all sequences, and for each sequence by name.

    The values of a sequence are means over its objects and over its frames with a mask, without the first frame, whose
    mask is given. "n_test" counts these frames.

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
    """Each metric in each frame with a mask after the first, mean over objects: float [frames, metrics]."""
    frames = torch.from_numpy(sequence.frames(side)).permute(0, 3, 1, 2)
    values, first = np.unique(sequence.mask(0).labels, return_inverse=True)
    objects = np.flatnonzero(values).tolist()
    rows = []
    for number, labels in enumerate(tracker(frames, torch.from_numpy(first))):
        if number not in sequence.masks or not number:
            continue
        truth = torch.from_numpy(sequence.mask(number).labels)
        if truth.shape != labels.shape:
            raise WithholdError(
                f"{sequence.masks[number]} differs in size from the first mask. Make all masks of a sequence equal in "
                "size."
            )
        pairs = [(labels == thing, truth == values[thing].item()) for thing in objects]
        rows.append([np.mean([compare(*pair) for pair in pairs]) for compare in METRICS.values()])
    if not rows:
        raise WithholdError(f"{sequence.name} only has the first mask. Add a mask of another frame to compare with.")
    return np.array(rows)
