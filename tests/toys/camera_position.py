"""Camera positions, from images."""

import torch
from torch import nn

from withhold import views
from withhold.methods import ImageEncoder, Method, method


@method(
    paper="Kendall, Grimes & Cipolla, ICCV 2015 (PoseNet)", needs={"images": "image + poses"}, family="known inverse"
)
class CameraPosition(Method):
    """Withholds where the camera of an image stood; predicts it. A pose is a matrix [3, 4] of rotation and position."""

    def __init__(self, encoder: ImageEncoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 3)

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and poses [n, 12] -> images under another light, positions [n, 3]."""
        images, poses = images
        return views.augment(images, self.rng, flip=0, jitter=(0.1, 0.1, 0.1, 0)), poses.unflatten(1, (3, 4))[:, :, 3]

    def predict(self, seen):
        return self.head(self.encoder(seen))

    def loss(self, said, positions):
        return {
            "loss": (said - positions).square().mean(),
            "trivial": (positions - positions.mean(0)).square().mean(),
        }

    def picture(self, seen, positions, said=None):
        columns = {"seen": seen, "true": self.captions(positions)}
        return columns if said is None else columns | {"said": self.captions(said)}

    def captions(self, positions: torch.Tensor) -> list[str]:
        return [", ".join(f"{number:.2f}" for number in row) for row in positions.tolist()]
