"""A feature pyramid: combine the maps of an encoder's stages into predictions for every pixel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.nets.encoder import ImageEncoder
from withhold.nets.features import frozen
from withhold.nets.stages import stage_outputs

GROUPS, FINEST = 8, 4
"""Groups of group normalisation; smallest width, in pixels, of a cell of the finest map, as in the feature pyramid."""


def stage_maps(encoder: ImageEncoder, images: Tensor) -> list[Tensor]:
    """Feature maps [n, d, h, w] of square images, from fine to coarse: for each resolution, of the last stage with it.

    A cell of the finest map is 4 pixels wide or more. The last map is the encoder's own; it is the only one for a
    transformer, whose stages all have the same resolution.
    """
    outputs, last = stage_outputs(encoder, images)
    square = [out for out in outputs if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] == out.shape[3]]
    found = {out.shape[2:]: out for out in square}  # channels first
    finer = [maps for size, maps in found.items() if last.shape[2] < size[0] <= -(-images.shape[2] // FINEST)]
    return [*sorted(finer, key=lambda maps: -maps.shape[2]), last]


class Pyramid(nn.Module):
    """Maps of an encoder's stages -> `outputs` values for every pixel.

    Each map is projected to `width` features and upsampled to the size of the finest map; their sum passes through a
    3x3 convolution. This is a feature pyramid (Lin et al., CVPR 2017) without intermediate levels, or a hypercolumn
    (Hariharan et al., CVPR 2015) with sums. Group normalisation keeps it independent of batch statistics.

    Args:
        depth: number of maps to use, from the finest; all by default.
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
