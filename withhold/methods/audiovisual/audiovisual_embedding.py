"""AVE-Net: pictures and sounds in one embedding space."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import Count, Method, Optimizer, Positive, Probability, method
from withhold.nets import AudioVisualEncoder


@method(paper="Arandjelovic & Zisserman, ECCV 2018 (AVE-Net)", needs={"clips": "video + audio"}, family="verify")
class AudiovisualEmbedding(Method):
    """Withholds which sound belongs to a picture; predicts it from the distance of their embeddings.

    The decision uses only one number, the distance, so both kinds of embeddings share one space. Mismatched pairs are
    made from the same batch by exchanging sounds, so any trace of how a picture or a sound was cut occurs in both
    classes. At first, the paper sampled the sounds of the two classes differently, on and off the grid of video frames,
    and its network learned to detect that. Two windows of the same video can form a mismatched pair.

    Args:
        objective: "distance" compares each picture with one sound (as in the paper); "contrastive" compares it with all
            sounds of the batch.
        temperature: cosines are divided by it; for the contrastive objective.
        flip: probability of a horizontal flip of a picture; use 0 if a mirror image has another meaning.
        frames: frames per clip; their embeddings are averaged.
        fps: frames per second.
        seconds: length of the sound around the frames.
    """

    optimizer = Optimizer(lr=2e-3, weight_decay=1e-5)
    compares = True

    def __init__(
        self,
        encoder: AudioVisualEncoder,
        objective: Literal["distance", "contrastive"] = "distance",
        temperature: Positive = 0.1,
        flip: Probability = 0.5,
        frames: Count = 1,
        fps: Positive = 8.0,
        seconds: Positive = 1.0,
    ):
        super().__init__(encoder)
        self.objective, self.temperature, self.flip = objective, temperature, flip
        if objective == "distance":
            self.verdict = nn.Linear(1, 2)  # scores of mismatch and match; with the other sign, it may not learn
            self.verdict.load_state_dict({"weight": torch.tensor([[0.7], [-0.7]]), "bias": torch.tensor([-1.2, 1.2])})

    def withhold(self, clips):
        """Frames uint8 [n, t, c, h, w], sounds int16 [n, s] -> augmented, float; index of a wrong sound for each [n].

        See `views.view_pairs`.
        """
        seen, heard = views.view_pairs(*clips, self.rng, size=self.encoder.size, flip=self.flip)
        return (seen, heard), views.partners(len(seen), self.rng)

    def predict(self, visible):
        """Return the embeddings [n, d] of length 1 of pictures and of sounds."""
        seen, heard = visible
        return self.encoder(seen), self.encoder(heard)

    def loss(self, predicted, others):
        seen, heard = predicted
        if self.objective == "contrastive":
            return {
                "loss": losses.symmetric_info_nce(seen, heard, self.temperature),
                "accuracy": (self.nearest(predicted) == torch.arange(len(seen), device=seen.device)).float().mean(),
                "trivial": math.log(len(seen) * losses.ranks()),
            }
        scores = torch.cat([self.judge(seen, heard), self.judge(seen, heard[others])])
        matches = torch.arange(2, device=seen.device).flip(0).repeat_interleave(len(seen))
        return {
            "loss": F.cross_entropy(scores, matches),
            "accuracy": (scores.argmax(1) == matches).float().mean(),
            "trivial": math.log(2),
        }

    def judge(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Embeddings [n, d] of both -> scores [n, 2] of mismatch and match, from their distances alone."""
        return self.verdict(F.pairwise_distance(seen, heard)[:, None])

    def nearest(self, predicted: tuple[Tensor, Tensor]) -> Tensor:
        """The index of the nearest sound for each picture [n]."""
        seen, heard = predicted
        return (seen @ heard.T).argmax(1)

    def picture(self, visible, others, predicted=None):
        seen, sounds = visible
        drawn = self.encoder.draw(sounds)
        columns = {"seen": seen, "true": drawn, "another's": drawn[others]}
        if predicted is not None:
            columns["said"] = drawn[self.nearest(predicted)]
        return columns
