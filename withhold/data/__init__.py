"""Data: from anything on disk to batches of raw tensors. Nothing here knows of methods, networks or training."""

from withhold.data import cache
from withhold.data.feeder import Feeder
from withhold.data.images import thumbnail
from withhold.data.loading import Shape, address, default_size, each_image, items, load, measure, open, splits
from withhold.data.samples import Samples

__all__ = [
    "Feeder", "Samples", "Shape", "address", "cache", "default_size", "each_image", "items", "load", "measure", "open",
    "splits", "thumbnail",
]  # fmt: skip
