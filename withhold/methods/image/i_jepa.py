"""I-JEPA."""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, Method, Optimizer, Probability, Range, method
from withhold.nets import Transformer, ViT

LEAST = 1 / 16
"""Of all patches, the share that is left of the context at least."""


@method(paper="Assran et al., CVPR 2023", needs={"images": "image"}, family="distil")
class IJEPA(Method):
    """Withholds a slow teacher's features of some blocks of an image; predicts them from the rest of another block.

    The teacher sees the whole image, the encoder the patches of the context alone: a large block, from which the others
    are cut out, or they could be copied. A narrow predictor is told where a block lies, and says what is there. What
    keeps it from collapsing is the predictor, the teacher's slowness and the normalisation of its features; a loss that
    falls is no proof, so look at the rank. Blocks are large, or texture would be enough. Views are not mirrored and
    keep their colours. When the training ends, the encoder gets the teacher's weights, which are those that the paper
    measures.

    Args:
        blocks: how many blocks are withheld, each of 15 to 20 % of the image.
        momentum: share of itself that the teacher keeps in a step at the start; it rises to 1 in a straight line. The
            paper's 0.996 suits runs of 100,000 steps and more.
        width: features of a token in the predictor, a multiple of 32.
        depth: layers of the predictor.
    """

    optimizer = Optimizer(lr=1e-3, weight_decay=0.05)

    def __init__(
        self,
        encoder: ViT,
        blocks: Count = 4,
        momentum: Probability = 0.98,
        width: Annotated[int, Range(least=32, multiple=32)] = 96,
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

        The context's patches and those of each block [n, b, ...] are listed, see `listed`.
        """
        view = views.augment(images, self.rng, size=self.encoder.size, crop=(0.3, 1.0), flip=0)
        view = views.with_channels(view, self.encoder.channels)
        context, blocks = map(listed, self.draw(len(view)))
        features = self.teacher.network.maps(view).float().flatten(2).mT
        return (view, context, blocks), (view, F.layer_norm(features, features.shape[2:]), blocks)

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Which patches are an image's context [n, l], and which its blocks [n, b, l], both bool.

        A block that would leave too little of the context is not asked for.
        """
        grid = self.encoder.grid
        context = views.block_mask(n, grid, grid, self.rng, area=(0.85, 1.0), aspect=(1, 1)).flatten(1)
        blocks = views.block_mask(n * self.blocks, grid, grid, self.rng, area=(0.15, 0.2), aspect=(0.75, 1.5))
        blocks = blocks.view(n, self.blocks, -1)
        left = context[:, None] & (blocks.cumsum(1) == 0)
        blocks = blocks & (left.sum(2, keepdim=True) >= LEAST * grid**2)
        return context & ~blocks.any(1), blocks

    def predict(self, visible):
        """-> the features of the blocks' patches [n, b, m, d]."""
        view, (context, seen), (blocks, asked) = visible
        tokens = self.encoder.tokens(view)
        tokens = tokens.gather(1, context[:, :, None].expand(-1, -1, tokens.shape[2]))
        known = self.narrow(self.encoder.transformer(tokens, seen[:, None, None])) + self.positions[context]
        tokens = torch.cat([every(known, self.blocks), self.blank + self.positions[blocks]], 2)
        there = torch.cat([every(seen, self.blocks), asked], 2)
        said = self.predictor(tokens.flatten(0, 1), there.flatten(0, 1)[:, None, None])
        return self.widen(said[:, context.shape[1] :]).unflatten(0, (-1, self.blocks))

    def loss(self, predicted, withheld):
        """The authors' code: smooth absolute error of normalised features; and that of the mean ones of each place."""
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
        """What is said of a patch is shown as the patch of all these images whose features are nearest to it."""
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
        """Patches [n, m, p] at their `places` [n, ...], where they are `real` [n, ...], in grey images."""
        count = self.encoder.grid**2
        places = places.where(real, count).flatten(1)[:, :, None].expand_as(patches)
        canvas = patches.new_full((len(patches), count + 1, patches.shape[2]), 0.5).scatter(1, places, patches)
        return views.unpatch(canvas[:, :count], self.encoder.channels, (self.encoder.size, self.encoder.size))


def listed(mask: Tensor) -> tuple[Tensor, Tensor]:
    """bool [..., l] -> the places where it is true [..., m], and whether each is one [..., m]: rows are filled up."""
    places = mask.byte().argsort(dim=-1, descending=True, stable=True)[..., : int(mask.sum(-1).max())]
    return places, mask.gather(-1, places)


def every(x: Tensor, blocks: int) -> Tensor:
    """[n, ...] -> [n, blocks, ...], the same for every block."""
    return x[:, None].expand(-1, blocks, *x.shape[1:])


def error(said: Tensor, true: Tensor, asked: Tensor) -> Tensor:
    """The mean smooth absolute error of features [..., d] where they are asked for."""
    errors = F.smooth_l1_loss(said, true, reduction="none").mean(-1)
    return (errors * asked).sum() / asked.sum()
