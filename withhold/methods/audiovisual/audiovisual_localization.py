"""AVOL-Net: where in a picture the sound comes from."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import Count, Method, Optimizer, Positive, Probability, answers, method
from withhold.nets import AudioVisualEncoder


@method(paper="Arandjelovic & Zisserman, ECCV 2018 (AVOL-Net)", needs={"clips": "video + audio"}, family="verify")
class AudiovisualLocalization(Method):
    """Withholds which sound belongs to a picture; predicts it from the place in the picture that goes best with it.

    The best place decides: of a pair that matches, one place at least must go with the sound; of one that does not,
    none may. What learned that can say where. The pairs that do not match are the batch's own, their sounds exchanged,
    so that nothing but the pair tells the classes apart (as for `audiovisual_embedding`).

    The paper takes the largest similarity of all places; here it is the logarithm of the mean of their exponentials,
    which comes near to it as similarities grow. The largest alone teaches one place of a picture: an empty one, which
    looks the same in all pictures, wins by chance, has nothing to learn, and is never overtaken. Where the paper draws
    one wrong sound for each picture, the loss is the mean over all others of the batch.

    Args:
        flip: probability that a picture is mirrored; 0 where a mirror image is something else.
        frames: in a clip; the best place of all its frames counts.
        fps: frames a second.
        seconds: of sound, around the frames.
    """

    encoder: AudioVisualEncoder
    optimizer = Optimizer(lr=2e-3, weight_decay=1e-5)
    compares = True

    def __init__(
        self,
        encoder: AudioVisualEncoder,
        flip: Probability = 0.5,
        frames: Count = 1,
        fps: Positive = 8.0,
        seconds: Positive = 1.0,
    ):
        super().__init__(encoder)
        self.flip = flip
        self.scale = nn.Parameter(torch.tensor(encoder.dim**-0.5))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def withhold(self, clips):
        """Frames uint8 [n, t, c, h, w], sounds int16 [n, s] -> both as floats, changed; another's sound for each [n].

        See `views.view_pairs`. The loss compares with all others; `picture` shows that one.
        """
        seen, heard = views.view_pairs(*clips, self.rng, size=self.encoder.size, flip=self.flip)
        return (seen, heard), views.partners(len(seen), self.rng)

    def predict(self, visible):
        """The projection of every place [n, t, d, g, g], and of every sound [n, d]."""
        seen, heard = visible
        places = self.encoder.places(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        return places, self.encoder.heard(heard)

    def loss(self, predicted, others):
        scores = self.judge(*predicted)
        n = len(scores)
        matches = torch.eye(n, dtype=torch.bool, device=scores.device)
        weight = torch.where(matches, 0.5 / n, 0.5 / max(1, n * (n - 1)))  # right pairs count as much as wrong ones
        return {
            "loss": F.binary_cross_entropy_with_logits(scores, matches.float(), weight, reduction="sum"),
            "accuracy": (weight * ((scores > 0) == matches)).sum(),
            "trivial": math.log(2),
        }

    def judge(self, places: Tensor, heard: Tensor) -> Tensor:
        """Whether each clip of places [n, t, d, g, g] goes with each sound [m, d]: logits [n, m]."""
        maps = self.scale * torch.einsum("ntdyx,md->nmtyx", places, heard).flatten(2) + self.bias
        return maps.logsumexp(2) - math.log(maps.shape[2])

    def maps(self, places: Tensor, heard: Tensor) -> Tensor:
        """How well each place [n, t, d, g, g] goes with the sound [n, d]: logits [n, t, g, g]."""
        return self.scale * torch.einsum("ntdyx,nd->ntyx", places, heard) + self.bias

    def apply_to(self, clip):
        """A clip with its sound -> the frame in its middle, what is heard, and where it comes from, in red.

        "place" spreads the map from its least value to its largest, so that it says where, not whether.
        """
        seen, heard = self.encoder.take(clip)
        middle = seen[:, [seen.shape[1] // 2]]
        maps = self.maps(*self.predict((middle, heard)))
        shown = {"seen": middle[:, 0], "heard": self.draw(heard), "place": views.overlay(middle[:, 0], maps)}
        return {name: answers.Image(images[0]) for name, images in shown.items()}

    def draw(self, sounds: Tensor) -> Tensor:
        return views.draw_log_mel(views.log_mel(sounds, self.encoder.hearing.rate))

    def picture(self, visible, others, predicted=None):
        seen, heard = visible
        columns = {"seen": seen[:, 0], "true": self.draw(heard), "another's": self.draw(heard[others])}
        if predicted is not None:
            places, sounds = predicted
            columns["said"] = views.overlay(seen[:, 0], self.maps(places, sounds)[:, :1])
            columns["said of another's"] = views.overlay(seen[:, 0], self.maps(places, sounds[others])[:, :1])
        return columns
