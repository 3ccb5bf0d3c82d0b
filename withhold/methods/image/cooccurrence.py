"""Co-occurrence of patches."""

import math
from typing import Literal

import torch
from torch.nn import functional as F

from withhold import views
from withhold.methods import ImageEncoder, Method, Probability, answers, method
from withhold.nets import mlp, refresh_statistics

JITTER = (0.4, 0.4, 0.4, 0.5)
GROUPS = 4
"""Number of groups into which `apply_to` segments an image."""


@method(paper="Isola, Zoran, Krishnan & Adelson, arXiv 1511.06811, 2015", needs={"images": "image"}, family="verify")
class Cooccurrence(Method):
    """Withholds whether two patches are neighbours in one image or from two images; predicts it from the patches.

    Half of the pairs are of each kind. The logit therefore estimates how much more often the two patches occur together
    than if they were independent: log P(A, B) / (P(A) P(B)), their pointwise mutual information. It is averaged over
    both orders of the pair. Shortcuts that do not require the content are removed: continuing edges (by gaps of random
    width), brightness and contrast (every patch is standardised) and scale (images are not rescaled at random). Tint
    becomes a weak cue: every patch has its own colour jitter, or no colour.

    Args:
        grid: patches along each side, 2 or 3; by default 2 below 64 pixels, else 3.
        grey: share of the patches that lose their colour, in [0, 1].
    """

    compares = True

    def __init__(self, encoder: ImageEncoder, grid: Literal[2, 3] | None = None, grey: Probability = 0.5):
        super().__init__(encoder)
        self.grid, self.tile = views.tiling(encoder.size, grid)
        self.grey = grey
        cells = torch.arange(self.grid**2).view(self.grid, self.grid)
        self.register_buffer("first", torch.cat([cells[:, :-1].flatten(), cells[:-1].flatten()]))
        self.register_buffer("second", torch.cat([cells[:, 1:].flatten(), cells[1:].flatten()]))
        self.head = mlp([2 * encoder.dim, 256, 1])

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (patches float [n, l, c, tile, tile], another image for each [n]); targets [2 * m].

        A target is true if the patches of a pair come from one image; see `pairs`.
        """
        whole = views.augment(images, self.rng, size=self.encoder.size)
        patches = views.tiles(whole, self.rng, self.grid, self.tile)
        tinted = views.augment(
            patches.flatten(0, 1), self.rng, flip=0.0, jitter=JITTER, jitter_probability=1.0, grey=self.grey
        )
        patches = views.standardize(tinted).unflatten(0, patches.shape[:2])
        pairs = len(images) * len(self.first)
        together = torch.arange(2 * pairs, device=patches.device) < pairs
        return (patches, views.partners(len(images), self.rng)), together

    def predict(self, visible):
        patches, others = visible
        features = self.encoder(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        return self.judge(*self.pairs(features, others))

    def loss(self, scores, together):
        return {
            "loss": F.binary_cross_entropy_with_logits(scores, together.float()),
            "accuracy": ((scores > 0) == together).float().mean(),
            "trivial": math.log(2),
        }

    def finish(self, plain):
        super().finish(plain)
        refresh_statistics(self.head, plain(), lambda images: self.predict(self.hide({"images": images})[0]))

    def apply_to(self, image):
        """Segment an image into `GROUPS` groups by spectral clustering, each drawn in its mean colour."""
        from sklearn.cluster import SpectralClustering

        view = views.with_channels(self.encoder.take(image), self.encoder.channels)
        step = max(1, self.tile // 4)
        starts = torch.arange(0, self.encoder.size - self.tile + 1, step)
        patches = views.windows(view, torch.cartesian_prod(starts, starts)[None], self.tile)[0]
        features = self.encoder(views.standardize(patches))
        first, second = torch.cartesian_prod(*[torch.arange(len(patches))] * 2).T
        likely = self.judge(features[first], features[second]).sigmoid().view(len(patches), -1)
        numbers = SpectralClustering(GROUPS, affinity="precomputed", random_state=0).fit_predict(likely.numpy())
        nearest = (torch.arange(self.encoder.size) - (self.tile - step) // 2).div(step, rounding_mode="floor")
        nearest = nearest.clamp(0, len(starts) - 1)  # the nearest centre of a patch, for each row and column of pixels
        labels = torch.from_numpy(numbers).view(len(starts), -1)[nearest][:, nearest] + 1
        colours = torch.stack([view[0, :, labels == group].mean(1).expand(3) for group in range(1, GROUPS + 1)])
        palette = [0, 0, 0, *(255 * colours.nan_to_num()).round().int().flatten().tolist()]
        return {"seen": answers.Image(view[0]), "groups": answers.Mask(labels, palette)}

    def picture(self, visible, together, scores=None):
        """For every image, one pair of its own patches and one with a patch of another image."""
        patches, others = visible
        questions = torch.arange(len(patches), device=patches.device) * len(self.first)
        questions = torch.cat([questions, questions + len(together) // 2])
        columns = {
            "seen": views.board(torch.stack(self.pairs(patches, others), 1)[questions], 2),
            "true": ["together" if answer else "apart" for answer in together[questions].tolist()],
        }
        if scores is not None:
            columns["said"] = [f"together {share:.0%}" for share in scores[questions].sigmoid().tolist()]
        return columns

    def pairs(self, values, others):
        """Values of patches [n, l, ...] -> those of the first and the second patches of all pairs, [2 * m, ...] each.

        The pairs are neighbours in an image, followed by the same pairs with the second patch taken from another image.
        """
        first, second = values[:, self.first], values[:, self.second]
        return torch.cat([first, first]).flatten(0, 1), torch.cat([second, second[others]]).flatten(0, 1)

    def judge(self, first, second):
        """Features [n, d] of both patches -> scores [n], the same in either order."""
        both = torch.cat([torch.cat([first, second], 1), torch.cat([second, first], 1)])
        return self.head(both).view(2, -1).mean(0)
