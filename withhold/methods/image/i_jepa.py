"""I-JEPA."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, Method, Optimizer, Probability, Width, method
from withhold.nets import Transformer, ViT

LEAST = 1 / 16
"""Minimum size of the context, as a share of all patches."""


@method(paper="Assran et al., CVPR 2023", needs={"images": "image"}, family="distil")
class IJEPA(Method):
    """Withholds a slow teacher's features of some blocks of an image; predicts them from the rest of a large block.

    The teacher sees the whole image. The encoder sees only the patches of the context: a large block, from which the
    target blocks are removed, because otherwise they could be copied. A narrow predictor gets the position of a block
    and predicts its features. Three things prevent collapse: the predictor, the slowly moving teacher, and the
    normalisation of its features. A falling loss does not prove that there is no collapse, so check the rank. Blocks
    are large; for small ones, texture would be enough. Views are not flipped and keep their colours. At the end of the
    training, the encoder gets the teacher's weights, which the paper evaluates.

    Args:
        blocks: number of target blocks, each 15 to 20 % of the image.
        momentum: share of itself that the teacher keeps in a step at the start; it rises linearly to 1. The paper's
            0.996 suits runs of 100,000 steps and more.
        width: features per token in the predictor, a multiple of 32.
        depth: layers of the predictor.
    """

    optimizer = Optimizer(lr=1e-3, weight_decay=0.05)

    def __init__(
        self,
        encoder: ViT,
        blocks: Count = 4,
        momentum: Probability = 0.98,
        width: Width = 96,
        depth: Count = 2,
    ):
        super().__init__(encoder)
        self.blocks, self.momentum = blocks, momentum
        self.teacher = nets.Teacher(encoder)
        self.narrow, self.widen = nn.Linear(encoder.dim, width), nn.Linear(width, encoder.dim)
        self.blank = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", nets.positions(encoder.grid, encoder.grid, width), persistent=False)
        self.predictor = Transformer(width, depth, width // 32)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (a view, the context, the blocks), (the view, features [n, l, d], the blocks).

        Context and blocks [n, b, ...] are lists of patches; see `listed`.
        """
        view = self.encoder.view(images, self.rng, crop=(0.3, 1.0), flip=0)
        context, blocks = map(listed, self.draw(len(view)))
        features = self.teacher.network.maps(view).float().flatten(2).mT
        return (view, context, blocks), (view, F.layer_norm(features, features.shape[2:]), blocks)

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Draw the patches of the context [n, l] and of the target blocks [n, b, l] of each image, both bool.

        A block that would leave too little of the context is dropped.
        """
        grid = self.encoder.grid
        context = views.block_mask(n, grid, grid, self.rng, area=(0.85, 1.0), aspect=(1, 1)).flatten(1)
        blocks = views.block_mask(n * self.blocks, grid, grid, self.rng, area=(0.15, 0.2), aspect=(0.75, 1.5))
        blocks = blocks.view(n, self.blocks, -1)
        left = context[:, None] & (blocks.cumsum(1) == 0)
        blocks = blocks & (left.sum(2, keepdim=True) >= LEAST * grid**2)
        return context & ~blocks.any(1), blocks

    def predict(self, visible):
        """Return the features of the blocks' patches [n, b, m, d]."""
        view, (context, seen), (blocks, asked) = visible
        tokens = self.encoder.tokens(view)
        tokens = tokens.gather(1, context[:, :, None].expand(-1, -1, tokens.shape[2]))
        known = self.narrow(self.encoder.transformer(tokens, seen[:, None, None])) + self.positions[context]
        tokens = torch.cat([every(known, self.blocks), self.blank + self.positions[blocks]], 2)
        there = torch.cat([every(seen, self.blocks), asked], 2)
        said = self.predictor(tokens.flatten(0, 1), there.flatten(0, 1)[:, None, None])
        return self.widen(said[:, context.shape[1] :]).unflatten(0, (-1, self.blocks))

    def loss(self, predicted, withheld):
        """Smooth L1 error of normalised features, as in the authors' code. "trivial" is that of mean features."""
        _, features, (blocks, asked) = withheld
        image = torch.arange(len(blocks), device=blocks.device)[:, None, None]
        target = features[image, blocks]
        return {
            "loss": error(predicted, target, asked),
            "trivial": error(features.mean(0)[blocks], target, asked),
        }

    def after_step(self):
        self.teacher.update(self.encoder, self.momentum + (1 - self.momentum) * self.progress)

    def finish(self, plain):
        self.encoder.load_state_dict(self.teacher.network.state_dict())
        super().finish(plain)

    def picture(self, visible, withheld, predicted=None):
        """A predicted patch is drawn as the patch of these images whose features are nearest to the prediction."""
        view, features, (blocks, asked) = withheld
        patches = views.patches(view, self.encoder.patch)
        image = torch.arange(len(view), device=view.device)[:, None]
        context, seen = visible[1]
        columns = {
            "seen": self.image(patches[image, context], context, seen),
            "true": self.image(patches[image, blocks.flatten(1)], blocks, asked),
        }
        if predicted is not None:
            nearest = torch.cdist(predicted.float().flatten(0, 2), features.flatten(0, 1)).argmin(1)
            columns["said"] = self.image(patches.flatten(0, 1)[nearest].unflatten(0, (len(view), -1)), blocks, asked)
        return columns

    def image(self, patches: Tensor, places: Tensor, real: Tensor) -> Tensor:
        """Draw patches [n, m, p] at their `places` [n, ...] on grey images, where they are `real` [n, ...]."""
        count = self.encoder.grid**2
        places = places.where(real, count).flatten(1)[:, :, None].expand_as(patches)
        canvas = patches.new_full((len(patches), count + 1, patches.shape[2]), 0.5).scatter(1, places, patches)
        return views.unpatch(canvas[:, :count], self.encoder.channels, (self.encoder.size, self.encoder.size))


def listed(mask: Tensor) -> tuple[Tensor, Tensor]:
    """bool [..., l] -> the indices of true entries [..., m], padded, and whether each entry is not padding [..., m]."""
    places = mask.byte().argsort(dim=-1, descending=True, stable=True)[..., : int(mask.sum(-1).max())]
    return places, mask.gather(-1, places)


def every(x: Tensor, blocks: int) -> Tensor:
    """[n, ...] -> [n, blocks, ...], the same for every block."""
    return x[:, None].expand(-1, blocks, *x.shape[1:])


def error(said: Tensor, true: Tensor, asked: Tensor) -> Tensor:
    """The mean smooth L1 error of features [..., d] where `asked` is true."""
    errors = F.smooth_l1_loss(said, true, reduction="none").mean(-1)
    return (errors * asked).sum() / asked.sum()
