"""AVOL-Net: localises the source of a sound in a picture."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import Count, Method, Optimizer, Positive, Probability, answers, method
from withhold.nets import AudioVisualEncoder


@method(paper="Arandjelovic & Zisserman, ECCV 2018 (AVOL-Net)", needs={"clips": "video + audio"}, family="verify")
class AudiovisualLocalization(Method):
    """Withholds which sound belongs to a picture; predicts it from the place in the picture that matches it best.

    The best place decides: in a matching pair, at least one place must match the sound; in a mismatched pair, no place
    may. The trained network can therefore localise the source of a sound. Mismatched pairs are made from the same batch
    by exchanging sounds, so only the pairing distinguishes the classes (as in `audiovisual_embedding`).

    The paper takes the maximum similarity over all places. Here it is the logarithm of the mean of their exponentials,
    which approaches the maximum as similarities grow. The maximum trains one place per picture: an empty place, which
    looks the same in all pictures, can win by chance, receives no useful gradient, and is never overtaken. Where the
    paper draws one wrong sound for each picture, the loss here is the mean over all other sounds of the batch.

    Args:
        flip: probability of a horizontal flip of a picture; use 0 if a mirror image has another meaning.
        frames: frames per clip; the best place of all frames counts.
        fps: frames per second.
        seconds: length of the sound around the frames.
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
        """Frames uint8 [n, t, c, h, w], sounds int16 [n, s] -> augmented, float; index of another sound for each [n].

        See `views.view_pairs`. The loss uses all other sounds; `picture` shows this one.
        """
        seen, heard = views.view_pairs(*clips, self.rng, size=self.encoder.size, flip=self.flip)
        return (seen, heard), views.partners(len(seen), self.rng)

    def predict(self, visible):
        """Return the projections of all places [n, t, d, g, g] and of the sounds [n, d]."""
        seen, heard = visible
        places = self.encoder.places(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        return places, self.encoder.heard(heard)

    def loss(self, predicted, others):
        scores = self.judge(*predicted)
        n = len(scores)
        matches = torch.eye(n, dtype=torch.bool, device=scores.device)
        weight = torch.where(matches, 0.5 / n, 0.5 / max(1, n * (n - 1)))  # matching pairs weigh as much as others
        return {
            "loss": F.binary_cross_entropy_with_logits(scores, matches.float(), weight, reduction="sum"),
            "accuracy": (weight * ((scores > 0) == matches)).sum(),
            "trivial": math.log(2),
        }

    def judge(self, places: Tensor, heard: Tensor) -> Tensor:
        """Logits [n, m] that each clip with places [n, t, d, g, g] matches each sound [m, d]."""
        maps = self.scale * torch.einsum("ntdyx,md->nmtyx", places, heard).flatten(2) + self.bias
        return maps.logsumexp(2) - math.log(maps.shape[2])

    def maps(self, places: Tensor, heard: Tensor) -> Tensor:
        """Logits [n, t, g, g] that each place [n, t, d, g, g] matches its sound [n, d]."""
        return self.scale * torch.einsum("ntdyx,nd->ntyx", places, heard) + self.bias

    def apply_to(self, clip):
        """A clip with sound -> its middle frame, the spectrogram of the sound, and the location of its source, in red.

        "place" is scaled from the map's minimum to its maximum, so it shows where the best match is, not how good it
        is.
        """
        seen, heard = self.encoder.take(clip)
        middle = seen[:, [seen.shape[1] // 2]]
        maps = self.maps(*self.predict((middle, heard)))
        shown = {"seen": middle[:, 0], "heard": self.encoder.draw(heard), "place": views.overlay(middle[:, 0], maps)}
        return {name: answers.Image(images[0]) for name, images in shown.items()}

    def picture(self, visible, others, predicted=None):
        seen, heard = visible
        columns = {"seen": seen[:, 0], "true": self.encoder.draw(heard), "another's": self.encoder.draw(heard[others])}
        if predicted is not None:
            places, sounds = predicted
            columns["said"] = views.overlay(seen[:, 0], self.maps(places, sounds)[:, :1])
            columns["said of another's"] = views.overlay(seen[:, 0], self.maps(places, sounds[others])[:, :1])
        return columns
