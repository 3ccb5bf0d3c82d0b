"""Relative position of two patches (context prediction)."""

from typing import Literal

import torch
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import ImageEncoder, Method, accuracy, method
from withhold.nets import mlp


@method(paper="Doersch, Gupta & Efros, ICCV 2015", needs={"images": "image"}, family="verify")
class RelativePosition(Method):
    """Withholds where a patch lies relative to another one; predicts which of the eight neighbouring positions it is.

    Patches are cut from the cells of a grid. Every ordered pair of neighbouring patches is a question (12 per image in
    a grid of 2 x 2, 40 in a grid of 3 x 3), so a side does not correspond to one place in the image. A pair is
    classified from the features of its two patches alone. Shortcuts that do not require the content are removed:
    continuing edges (by gaps of random width), brightness and contrast (every patch is standardised), chromatic
    aberration (`color`). The paper's random downsampling is left out, because small images are too coarse for it.

    Args:
        grid: cells along each side, 2 or 3; by default 2 below 64 pixels, else 3. A patch that is only one cell of the
            encoder's map has only padding around it, and does not train most of a kernel.
        color: treatment of colour: "drop" keeps one random channel of a patch and replaces the others with noise,
            "project" removes the green-magenta axis, "keep" changes nothing.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        grid: Literal[2, 3] | None = None,
        color: Literal["drop", "project", "keep"] = "project",
    ):
        super().__init__(encoder)
        self.grid, self.tile = views.tiling(encoder.size, grid)
        self.color = color
        pairs = views.neighbours(self.grid)
        self.register_buffer("first", pairs[:, 0])
        self.register_buffer("second", pairs[:, 1])
        self.register_buffer("side", pairs[:, 2])
        self.trivial = losses.entropy_of_counts(pairs[:, 2], len(views.SIDES)).item()
        self.head = mlp([2 * encoder.dim, 256, len(views.SIDES)])

    def withhold(self, images):
        """uint8 [n, c, h, w] -> patches float [n, l, c, tile, tile], side of each pair's second patch [n * pairs]."""
        whole = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        patches = views.tiles(whole, self.rng, self.grid, self.tile).flatten(0, 1)
        patches = views.standardize(self.recolor(patches))
        return patches.unflatten(0, (len(images), self.grid**2)), self.side.repeat(len(images))

    def predict(self, patches):
        features = self.encoder(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        pairs = torch.cat([features[:, self.first], features[:, self.second]], 2)
        return self.head(pairs.flatten(0, 1))

    def loss(self, scores, sides):
        return {"loss": F.cross_entropy(scores, sides), "accuracy": accuracy(scores, sides), "trivial": self.trivial}

    def picture(self, patches, sides, scores=None):
        """One question per image: its two patches side by side, and at their true or predicted positions."""
        image = torch.arange(len(patches), device=patches.device)
        asked = image * 11 % len(self.side)  # 11 has no factor in common with 12 or 40
        first, second = patches[image, self.first[asked]], patches[image, self.second[asked]]
        columns = {
            "seen": views.board(torch.stack([first, second], 1), 2),
            "true": _beside(first, second, sides.view(len(patches), -1)[image, asked]),
        }
        if scores is not None:
            columns["said"] = _beside(first, second, scores.argmax(1).view(len(patches), -1)[image, asked])
        return columns

    def recolor(self, patches):
        """Remove the chromatic aberration of patches [n, c, h, w], which reveals their position (section 3.1)."""
        n, c, _, _ = patches.shape
        if c == 1 or self.color == "keep":
            return patches
        if self.color == "project":
            axis = torch.tensor([-1.0, 2.0, -1.0], device=patches.device).view(3, 1, 1) / 6**0.5
            return patches - axis * (axis * patches).sum(1, keepdim=True)
        kept = torch.randint(c, (n,), generator=self.rng, device=patches.device)
        noise = (torch.rand(patches.shape, generator=self.rng, device=patches.device) - 0.5) / 255
        centred = patches - patches.mean((2, 3), keepdim=True)
        return torch.where(F.one_hot(kept, c).bool()[:, :, None, None], centred, noise)


def _beside(first, second, side):
    """Draw `second` [n, c, s, s] on the given `side` [n] of `first`."""
    cells = first.new_ones(len(first), 9, *first.shape[1:])
    cells[:, 4] = first
    cells[torch.arange(len(first), device=side.device), side + (side >= 4)] = second
    return views.board(cells, 3)
