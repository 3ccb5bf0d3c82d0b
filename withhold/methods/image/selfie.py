"""Selfie."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, Fraction, ImageEncoder, Method, Several, Width, accuracy, method
from withhold.nets import Transformer


@method(paper="Trinh, Luong & Le, arXiv 1906.02940, 2019", needs={"images": "image"}, family="verify")
class Selfie(Method):
    """Withholds which of the patches removed from an image belongs where; predicts it from those that are left.

    The encoder sees patches one by one. A transformer reads the remaining patches at their positions. Its output at a
    hole is compared with the features of all removed patches, which are negatives for each other. Shortcuts that do not
    require the content are removed: continuing edges (by gaps of random width), and brightness and tint (each patch has
    its own colour jitter and is then standardised).

    The paper adds the position of a hole to one vector of all remaining patches, so these favour the same patches in
    all holes. Here the position is an input of the transformer, and the output can depend on both.

    Args:
        grid: patches along each side; by default 3 below 64 pixels, else 4. A patch that is only one cell of the
            encoder's map would not train most of its last kernels.
        taken: share of the patches that are removed; at least two are.
        width: features per token in the transformer, a multiple of 32.
        depth: blocks of the transformer.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        grid: Several | None = None,
        taken: Fraction = 0.33,
        width: Width = 128,
        depth: Count = 2,
    ):
        super().__init__(encoder)
        self.grid, _ = views.tiling(encoder.size, grid or (3 if encoder.size < 64 else 4))
        count = self.grid**2
        self.taken = max(2, round(taken * count))
        if self.taken >= count:
            raise ValueError(f"taken must leave some of the {count} patches, but {taken} removes all of them.")
        self.tile = encoder.size // self.grid * 9 // 10
        self.project = nn.Linear(encoder.dim, width)
        self.hole = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", nets.positions(self.grid, self.grid, width), persistent=False)
        self.reader = Transformer(width, depth, width // 32)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (patches [n, l, c, tile, tile], places of the holes [n, m]), correct answers [n, m].

        The removed patches are shuffled among the holes: the patch of hole i is in hole `answers[:, i]`.
        """
        whole = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        patches = views.tiles(whole, self.rng, self.grid, self.tile)
        jittered = views.augment(patches.flatten(0, 1), self.rng, flip=0, jitter=(0.4, 0.4, 0.4, 0.1), grey=0.2)
        patches = views.standardize(jittered).unflatten(0, patches.shape[:2])
        random = torch.rand(2, *patches.shape[:2], generator=self.rng, device=patches.device)
        holes = random[0].argsort(1)[:, : self.taken]
        order = random[1, :, : self.taken].argsort(1)
        return (fill(patches, holes, order), holes), order.argsort(1)

    def predict(self, visible):
        """Return the scores [n, m, m] of every hole for every removed patch."""
        patches, holes = visible
        features = self.project(self.encoder(patches.flatten(0, 1))).unflatten(0, patches.shape[:2])
        index = holes[:, :, None].expand(-1, -1, features.shape[2])
        tokens = features.scatter(1, index, self.hole.to(features.dtype).expand_as(index)) + self.positions
        asked = self.reader(tokens).gather(1, index)
        return asked @ features.gather(1, index).mT / math.sqrt(index.shape[2])

    def loss(self, scores, answers):
        scores, answers = scores.flatten(0, 1), answers.flatten()
        return {
            "loss": F.cross_entropy(scores, answers),
            "accuracy": accuracy(scores, answers),
            "trivial": math.log(self.taken),
        }

    def picture(self, visible, answers, scores=None):
        """The holes, and every patch at its true or predicted place; one patch may fill several holes."""
        patches, holes = visible
        image = torch.arange(len(patches), device=patches.device)[:, None]
        blank = patches.index_put((image, holes), patches.new_tensor(0.5))
        columns = {"seen": blank, "true": fill(patches, holes, answers)}
        if scores is not None:
            columns["said"] = fill(patches, holes, scores.argmax(2))
        return {name: views.board(tiles, self.grid) for name, tiles in columns.items()}


def fill(patches: Tensor, holes: Tensor, chosen: Tensor) -> Tensor:
    """Fill the holes of patches [n, l, ...]: hole i of `holes` [n, m] gets the patch in hole `chosen[:, i]`."""
    image = torch.arange(len(patches), device=patches.device)[:, None]
    return patches.index_put((image, holes), patches[image, holes.gather(1, chosen)])
