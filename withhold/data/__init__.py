"""Data: from anything on disk to batches of raw tensors. Nothing here knows of methods, networks or training."""

from withhold.data import cache
from withhold.data.feeder import Feeder
from withhold.data.images import default_size
from withhold.data.kind import Shape
from withhold.data.loading import each_image, fit_tokenizer, holds, load, measure, open, splits, takes
from withhold.data.samples import Samples
from withhold.data.series import Pairs, Series
from withhold.data.sounds import MOST_RATE
from withhold.data.texts import load_tokenizer

__all__ = [
    "MOST_RATE", "Feeder", "Pairs", "Samples", "Series", "Shape", "cache", "default_size", "each_image",
    "fit_tokenizer", "holds", "load", "load_tokenizer", "measure", "open", "splits", "takes",
]  # fmt: skip
