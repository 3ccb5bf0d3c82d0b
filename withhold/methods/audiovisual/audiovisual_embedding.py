"""AVE-Net: pictures and sounds in one space."""

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

    All that decides is one number, the distance, so that both come to lie in one space. The pairs that do not match are
    the batch's own, their sounds exchanged: whatever a picture or a sound shows of how it was cut, it shows in both
    classes. The paper drew the two classes' sounds in different ways at first, on the grid of the frames and off it,
    and its network learned to tell these apart. Two windows of the same video can meet as if they did not match.

    Args:
        objective: "distance", of one sound for each picture (the paper's); or "contrastive", among all of the batch.
        temperature: what cosines are divided by in the contrastive objective.
        flip: probability that a picture is mirrored; 0 where a mirror image is something else.
        frames: in a clip, whose embedding is the mean of theirs.
        fps: frames a second.
        seconds: of sound, around the frames.
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
            self.verdict = nn.Linear(1, 2)  # scores of no match and of a match; with the other sign it may never start
            self.verdict.load_state_dict({"weight": torch.tensor([[0.7], [-0.7]]), "bias": torch.tensor([-1.2, 1.2])})

    def withhold(self, clips):
        """Frames uint8 [n, t, c, h, w], sounds int16 [n, s] -> both as floats, changed; each picture's wrong sound [n].

        See `views.view_pairs`.
        """
        seen, heard = views.view_pairs(*clips, self.rng, size=self.encoder.size, flip=self.flip)
        return (seen, heard), views.partners(len(seen), self.rng)

    def predict(self, visible):
        """Embeddings [n, d] of length 1, of what is seen and of what is heard."""
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
        """Embeddings [n, d] both -> scores [n, 2] of no match and of a match, from their distances alone."""
        return self.verdict(F.pairwise_distance(seen, heard)[:, None])

    def nearest(self, predicted: tuple[Tensor, Tensor]) -> Tensor:
        """For every picture, the nearest of the sounds [n]."""
        seen, heard = predicted
        return (seen @ heard.T).argmax(1)

    def picture(self, visible, others, predicted=None):
        seen, sounds = visible
        drawn = views.draw_log_mel(views.log_mel(sounds, self.encoder.hearing.rate))
        columns = {"seen": seen, "true": drawn, "another's": drawn[others]}
        if predicted is not None:
            columns["said"] = drawn[self.nearest(predicted)]
        return columns
