"""The confidence of segmentation in a domain, and dense tasks."""

import numpy as np
import torch
from claims.data import Place, Split
from claims.measures.common import Found

import withhold
from withhold import views
from withhold.evaluation.protocols import segmentation
from withhold.pictures import grid


@torch.inference_mode()
def entropy_maps(run: withhold.Run, split: Split, at: Place) -> Found:
    """The mean entropy of test images, as a share of the largest; five of its maps are drawn to entropy.webp."""
    method, entropies = run.method.eval(), []
    for rows in np.array_split(np.arange(len(split.test)), len(split.test) // 16 + 1):
        scores, *_ = method.predict(views.to_float(split.test.batch(rows)))
        entropies.append(method.information(scores.float()).sum(1))
    rows = np.linspace(0, len(split.test) - 1, 5).round().astype(int)
    images, masks = views.to_float(split.test.batch(rows)), split.test.parts["mask"].batch(rows)[:, 0].long()
    scores, *_ = method.predict(images)
    columns = {
        "seen": images, "true": method.draw(masks, images), "said": method.draw(scores.argmax(1), images),
        "entropy": torch.cat(entropies)[rows, None].clamp(0, 1),
    }  # fmt: skip
    grid(columns).save(at.folder / "entropy.webp")
    return {"entropy": torch.cat(entropies).mean().item()}


@torch.inference_mode()
def each_task(run: withhold.Run, split: Split, at: Place) -> Found:
    """The mean IoU of the masks and R2 of each filter's response over the pixels of all test images, as rows."""
    method, found, said, true = run.method.eval(), [], [], []
    for part in np.array_split(np.arange(len(split.test)), len(split.test) // 16 + 1):
        images = views.to_float(split.test.batch(part))
        said.append(method.predict(images))
        true.append(method.responses.found(images))
    masks, responses = (torch.cat(parts).float() for parts in zip(*said, strict=True))
    if "mask" in method.tasks:
        truth = segmentation.masks_of(split.test, method.classes)
        found += [
            {"column": "mask", **row}
            for row in segmentation.rows(masks.argmax(1).byte().numpy(), truth, method.classes)[:1]
        ]
    plain, strengths = responses * method.responses.deviation + method.responses.mean, torch.cat(true)
    for place, name in enumerate(method.responses.names):
        error = (plain[:, place] - strengths[:, place]).square().mean()
        found.append(
            {"column": name, "metric": "r2", "value": 1 - (error / strengths[:, place].var(correction=0)).item()}
        )
    return {"results": [{"encoder": "trained", **row, "by": "answers"} for row in found]}
