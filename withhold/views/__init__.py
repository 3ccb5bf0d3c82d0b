"""From raw tensors to what a network may see: batched, on the device, with different random numbers for every sample."""

from withhold.views.augment import augment
from withhold.views.color import lightness, to_float, with_channels
from withhold.views.geometry import flip
from withhold.views.masks import random_mask
from withhold.views.patches import patches, standardize, unpatch
from withhold.views.tiles import tiles

__all__ = [
    "augment", "flip", "lightness", "patches", "random_mask", "standardize", "tiles", "to_float", "unpatch",
    "with_channels",
]  # fmt: skip
