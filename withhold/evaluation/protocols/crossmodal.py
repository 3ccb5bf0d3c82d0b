"""Cross-modal retrieval: images and sounds retrieve images and sounds of their class."""

import math
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets
from withhold.errors import UsageError
from withhold.evaluation.task import Task

TAKES = "video + audio"
DEPTH = 30
RECALLS = (1, 10)
KINDS = {"picture": "video", "sound": "audio"}


def measure(task: Task) -> list[dict]:
    """nDCG@30 by cosine, with the images or sounds of the test items as queries for their images or sounds.

    A query never retrieves itself; the other half of its pair counts like other items of its class. A pair without a
    label is a class of its own, so it only retrieves its other half. "recall_at_1" and "recall_at_10" are the shares of
    queries that find an item of their class among the first 1 or 10. "chance", "chance_at_1" and "chance_at_10" are the
    values for a random order. If no item has another one of its class, images are not retrieved by images, nor sounds
    by sounds. The training items are not used. Raw items have no common space, and no row.
    """
    if task.encoder is None:
        return []
    if task.encoder.kind != TAKES:
        raise UsageError(
            f"The protocol crossmodal needs an encoder of images and sounds, but this one only takes "
            f"{task.encoder.kind}. Use a run that was trained on videos with sound."
        )
    halves = {
        name: F.normalize(nets.features(task.encoder, task.test.of(kind), device=task.device), dim=1)
        for name, kind in KINDS.items()
    }
    count = len(task.test)
    classes = torch.full((count,), -1) if task.test.labels is None else task.truth.cpu()
    classes = classes.where(classes >= 0, len(task.test.classes) + torch.arange(count))
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(task.seed))  # decides ties
    rows = []
    for asks, answers in product(KINDS, repeat=2):
        similarity = halves[asks] @ halves[answers][order].T
        relevant = classes[:, None] == classes[order]
        if asks == answers:  # without the item itself
            others = order != torch.arange(len(order))[:, None]
            similarity, relevant = (x[others].view(len(order), -1) for x in (similarity, relevant))
        if relevant.any():
            about = {"metric": f"nDCG@{DEPTH}", "direction": f"{asks} to {answers}"}
            rows.append(about | ranked(similarity, relevant))
    return rows


def ranked(similarity: Tensor, relevant: Tensor) -> dict[str, float]:
    """The metrics of rankings by similarity [q, n], given what is relevant, bool [q, n], averaged over the queries.

    nDCG@k = sum over the first k ranks r of relevance / log2(r + 1), divided by the largest possible sum (Jarvelin &
    Kekalainen, TOIS 2002). Queries without relevant items are left out.
    """
    asked = relevant.any(1)
    similarity, relevant = similarity[asked], relevant[asked]
    count, there = relevant.shape[1], relevant.sum(1)
    depth = min(DEPTH, count)
    first = relevant.gather(1, similarity.topk(depth, dim=1).indices).double()
    gains = 1 / torch.arange(2, depth + 2, dtype=torch.float64).log2()
    ideal = gains.cumsum(0)[there.clamp(max=depth) - 1]
    found = {
        "value": ((first @ gains) / ideal).mean().item(),
        "chance": (gains.sum() * there / count / ideal).mean().item(),
    }
    for k in RECALLS:
        missed = [math.comb(count - n, k) / math.comb(count, min(k, count)) for n in there.tolist()]
        found[f"recall_at_{k}"] = first[:, :k].any(1).double().mean().item()
        found[f"chance_at_{k}"] = 1 - sum(missed) / len(missed)
    return found
