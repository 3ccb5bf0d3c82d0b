"""From the maps of an image encoder's stages, fine and coarse ones together, to something at every pixel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.nets.encoder import ImageEncoder
from withhold.nets.features import frozen
from withhold.nets.stages import stage_outputs

GROUPS, FINEST = 8, 4
"""Groups of features that are normalised together; pixels of a cell of the finest map, as in the feature pyramid."""


def stage_maps(encoder: ImageEncoder, images: Tensor) -> list[Tensor]:
    """Maps [n, d, h, w] of square images, from fine to coarse: of each resolution that of the last stage that has it.

    A cell of the finest has 4 pixels or more. The last one is the encoder's own map; a transformer, whose stages all
    have one resolution, gives that alone.
    """
    outputs, last = stage_outputs(encoder, images)
    square = [out for out in outputs if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] == out.shape[3]]
    found = {out.shape[2:]: out for out in square}  # whose channels come before
    finer = [maps for size, maps in found.items() if last.shape[2] < size[0] <= -(-images.shape[2] // FINEST)]
    return [*sorted(finer, key=lambda maps: -maps.shape[2]), last]


class Pyramid(nn.Module):
    """Maps of an encoder's stages -> `outputs` numbers at every pixel.

    Each map is projected to `width` features and enlarged to the finest one's size; their sum goes through a 3x3
    convolution: a feature pyramid (Lin et al., CVPR 2017) without steps between, or a hypercolumn (Hariharan et al.,
    CVPR 2015) whose parts are added. Normalised in groups, it has no statistics that a batch could change.

    Args:
        depth: how many of the maps, from the finest, it is given; all by default.
    """

    def __init__(self, encoder: ImageEncoder, outputs: int, width: int = 64, depth: int | None = None):
        super().__init__()
        with frozen(encoder):
            maps = stage_maps(encoder, torch.zeros(1, encoder.channels, encoder.size, encoder.size))[:depth]
        self.project = nn.ModuleList(nn.Conv2d(part.shape[1], width, 1) for part in maps)
        self.layers = nn.Sequential(
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, maps: list[Tensor], size: torch.Size) -> Tensor:
        """Maps [n, d, h, w] from fine to coarse -> [n, outputs, *size]."""
        parts = [project(part) for project, part in zip(self.project, maps, strict=True)]
        together = sum(_enlarged(part, parts[0].shape[2:]) for part in parts)
        return _enlarged(self.layers(together), size)


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
