"""Object detection, starting from a trained encoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Dense, Freezing, ImageEncoder, Probability, Stages, method
from withhold.methods.answers import Boxes, Image
from withhold.pictures import framed

MOST = 100
"""Maximum number of boxes per image, as in COCO's evaluation."""
SURE = 0.3
"""Minimum score of a box that is shown."""
RARE = -2.19
"""Initial bias of the heat: a probability of 0.1 that a cell is the centre of an object."""
SPREAD = 0.54 / 6
"""Standard deviation of the heat around a centre, as a share of the box's width and height."""
CORNERS = 5.0
"""Weight of the boxes' corners, relative to 1 for the heat."""
FARTHEST = 10.0
"""Maximum log distance in cells; a larger one could overflow, even in a cell whose weight is 0."""
SAME = 0.5
"""IoU from which on two boxes of a class, found in overlapping squares, count as the same object."""


@method(
    paper="Zhou, Wang & Krahenbuhl, 2019 (CenterNet); Liu et al., AAAI 2020 (TTFNet)",
    needs={"images": "image + boxes"},
    family="supervised",
)
class Detection(Freezing, Dense):
    """Withholds the boxes; predicts the centres of objects, and the distances to their sides, from a light view.

    A head over the maps of several stages predicts for every cell of the finest map the heat of each class, which is 1
    at the centre of an object and decreases around it, and the distances from the cell to the four sides of the box. A
    peak of heat is a detection; there are no anchors. With all stages frozen, the accuracy of the boxes measures the
    quality of the maps. The training options `--encoder-lr` and `--layer-decay` set the learning rates of the stages.

    Difficult boxes and boxes around crowds do not contribute to the loss, and detections inside them do not count as
    errors.

    Args:
        freeze: number of the encoder's stages to freeze, counted from the input; "all", or "none". The statistics of
            their batch normalisation are frozen too.
        flip: probability of a horizontal flip; 0 if left and right differ in meaning.
    """

    fewest_classes = 1

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], freeze: Stages = None, flip: Probability = 0.5):
        super().__init__(encoder, classes, flip, len(classes) + 4)
        last: Any = self.head.layers[-1]
        last.bias.data[: len(classes)] = RARE
        self.freeze(freeze)

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and boxes [n, m, 6] -> views of the encoder's size, and the boxes in these."""
        items, boxes = images
        return self.view(items, boxes=boxes)

    def predict(self, seen):
        """Class scores [n, k, h, w] and log distances in cells [n, 4, h, w] of each cell."""
        maps = nets.stage_maps(self.encoder, seen)
        return self.head(maps, maps[0].shape[2:]).split([len(self.classes), 4], 1)

    def loss(self, said, boxes):
        """Focal loss of the heat, and 1 minus the generalised IoU of boxes, weighted by the heat around centres."""
        scores, distances = said
        boxes = boxes / boxes.new_tensor([self.encoder.size / scores.shape[3]] * 4 + [1, 1])
        boxes = F.pad(boxes, (0, 0, 0, 1), value=torch.nan)  # every cell has an owner, even without boxes
        bumps, known = spread(boxes, scores.shape[2:])
        number = boxes[..., 4].nan_to_num(0).long()[..., None]
        heat = torch.zeros_like(scores.flatten(2)).scatter_reduce(1, number.expand_as(bumps), bumps, "amax")
        weight, owner = bumps.max(1)
        true = boxes[..., :4].nan_to_num(0).take_along_dim(owner[..., None], 1)
        apart = 1 - losses.generalized_iou(corners(distances).flatten(2).mT, true)
        terms = {
            "heat": losses.focal(scores, heat.view_as(scores), known[:, None]),
            "corners": (weight * apart).sum() / weight.sum().clamp(min=1),
        }
        return {"loss": terms["heat"] + CORNERS * terms["corners"], **terms}

    def detect(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, h] in [0, 1] -> the best boxes [n, m, 6]: corners in pixels, class, score."""
        scores, distances = self.predict(images)
        shares = scores.float().sigmoid()
        peaks = shares.where(F.max_pool2d(shares, 3, 1, 1) == shares, 0).flatten(1)
        sure, places = peaks.topk(min(MOST, peaks.shape[1]))
        cells = distances[0, 0].numel()
        places, number = places % cells, places // cells
        found = corners(distances.float()).flatten(2).mT.take_along_dim(places[..., None], 1)
        size = images.shape[3]
        return torch.cat([(found * size / scores.shape[3]).clamp(0, size), torch.stack([number, sure], 2)], 2)

    def says(self):
        return {"boxes": self.detect}

    def apply_to(self, image):
        """An image -> its "boxes", and an "overlay" of the image and the boxes, in the colours of their classes.

        Of boxes that overlapping squares have in common, the one with the highest score is kept.
        """
        side, found = min(image.shape[1:]), []
        for square, left, top in self.squares(image):
            boxes = self.detect(square)[0].cpu()
            scale = boxes.new_tensor([side / square.shape[3]] * 4 + [1, 1])
            found.append(boxes[boxes[:, 5] >= SURE] * scale + boxes.new_tensor([left, top, left, top, 0, 0]))
        kept = distinct(torch.cat(found))
        picture = views.with_channels(views.to_float(image[None]), 3)[0].cpu()
        names = [self.classes[number] for number in kept[:, 4].int().tolist()]
        legend = {name: number for number, name in enumerate(self.classes, 1)}
        overlay = Image(framed(picture, kept), legend)
        return {"boxes": Boxes(names, kept[:, 5].tolist(), kept[:, :4]), "overlay": overlay}

    def picture(self, seen, boxes, said=None):
        def draw(boxes: Tensor) -> Tensor:
            drawn = map(framed, views.with_channels(seen, 3), boxes)
            return views.with_channels(torch.stack([*drawn]), seen.shape[1])

        columns = {"seen": seen, "true": draw(boxes)}
        if said is None:
            return columns
        found = self.detect(seen)
        return columns | {"said": draw(found.where(found[..., 5:] >= SURE, torch.nan))}


def corners(distances: Tensor) -> Tensor:
    """Log distances to left, top, right and bottom, in cells [n, 4, h, w] -> the corners of the boxes [n, 4, h, w]."""
    h, w = distances.shape[2:]
    x, y = torch.arange(w, device=distances.device) + 0.5, torch.arange(h, device=distances.device)[:, None] + 0.5
    left, top, right, bottom = distances.clamp(max=FARTHEST).exp().unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], 1)


def spread(boxes: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Boxes [n, m, 6] in cells -> the heat around each box's centre [n, m, h * w]: 1 in its cell, 0 for ignored boxes.

    Also return the cells [n, h, w] whose heat is known: those outside ignored boxes.
    """
    cells = [torch.arange(length, device=boxes.device) for length in reversed(size)]
    flags, axes, inside = boxes[..., 5], [], []
    for axis, places in enumerate(cells):
        start, end = boxes[..., axis, None], boxes[..., axis + 2, None]
        middle = ((start + end) / 2).floor().clamp(max=len(places) - 1)
        axes.append(torch.exp(-(((places - middle) / (SPREAD * (end - start))) ** 2) / 2))
        inside.append((places + 0.5 > start) & (places + 0.5 < end) & (flags > 0)[..., None])
    bumps = (axes[1][..., None] * axes[0][..., None, :]).flatten(2)
    unknown = (inside[1][..., None] & inside[0][..., None, :]).any(1)
    return bumps.where((flags == 0)[..., None], 0), ~unknown


def distinct(boxes: Tensor) -> Tensor:
    """Boxes [m, 6] -> boxes by descending score, without duplicates within a class (greedy non-maximum suppression)."""
    kept: list[Tensor] = []
    for box in boxes[boxes[:, 5].argsort(descending=True)]:
        others = [other for other in kept if other[4] == box[4]]
        if not others or losses.iou(torch.stack(others)[:, :4], box[:4]).max() < SAME:
            kept.append(box)
    return torch.stack(kept) if kept else boxes[:0]
