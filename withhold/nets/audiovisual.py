"""Encoders of images, clips and sounds into one embedding space."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from withhold.nets.convnet import ConvNet
from withhold.nets.encoder import ImageEncoder, PixelEncoder
from withhold.nets.heads import mlp
from withhold.nets.registry import register
from withhold.nets.sounds import AudioCNN, AudioEncoder, sway


class AudioVisualEncoder(PixelEncoder):
    """Images, clips, sounds, or clips with their sounds -> embeddings [n, dim] of length 1 in one space.

    Images and sounds each have their own trunk. Its map is max-pooled and projected by a perceptron of two layers
    (AVE-Net: Arandjelovic & Zisserman, ECCV 2018, section 3). A clip's embedding is the mean over its frames, a pair's
    the mean of its two parts, both normalised to length 1.
    """

    kind = "video + audio"
    default = "audiovisual"

    def __init__(self, sight: ImageEncoder, hearing: AudioEncoder, dim: int = 128):
        super().__init__(dim, sight.channels, sight.size, sight.stride)
        self.sight, self.hearing, self.rate = sight, hearing, hearing.rate
        self.see = mlp((sight.dim, 128, dim), norm=False)
        self.hear = mlp((hearing.dim, 128, dim), norm=False)

    def forward(self, items: Any) -> Tensor:
        """Images float [n, c, h, w] or clips [n, t, c, h, w] in [0, 1], sounds [n, s] in [-1, 1], or a pair of both."""
        if isinstance(items, tuple):
            return F.normalize(sum(self(part) for part in items), dim=1)
        if items.ndim == 5:
            return F.normalize(self(items.flatten(0, 1)).unflatten(0, items.shape[:2]).mean(1), dim=1)
        return F.normalize(self.heard(items) if items.ndim == 2 else self.seen(items), dim=1)

    def light_view(self, items, rng, flip=0.0):
        if isinstance(items, tuple):
            return tuple(self.light_view(part, rng, flip) for part in items)
        return sway(items, rng) if items.ndim == 2 else self.sight.light_view(items, rng, flip)

    def draw(self, items):
        """Images or clips as they are, sounds as spectrograms; for pairs, the clips."""
        items = items[0] if isinstance(items, tuple) else items
        return self.hearing.draw(items) if items.ndim == 2 else items

    def prepared(self):
        return {"sight": self.sight.prepared(), "hearing": self.hearing.prepared()}

    def maps(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> feature maps of the image trunk [n, features, h', w']."""
        return self.sight.maps(images)

    def seen(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> projections [n, dim], not normalised."""
        return self.see(self.maps(images).amax((2, 3)))

    def heard(self, sounds: Tensor) -> Tensor:
        """Sounds float [n, s] in [-1, 1] -> projections [n, dim], not normalised."""
        return self.hear(self.hearing.maps(sounds).amax((2, 3)))

    def places(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> the projection of every cell of the feature map [n, dim, h', w']."""
        return self.see(self.maps(images).movedim(1, -1)).movedim(-1, 1)

    def stages(self):
        return [[self.sight, self.hearing], [self.see, self.hear]]


@register
def audiovisual(size: int, channels: int, rate: int) -> AudioVisualEncoder:
    """A `convnet` and an `audio-cnn` whose 128 features share one space."""
    return AudioVisualEncoder(ConvNet(size, channels), AudioCNN(rate))
