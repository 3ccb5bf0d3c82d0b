"""Data: from anything on disk to batches of raw tensors. Nothing here knows of methods, networks or training."""

from withhold.data import cache
from withhold.data.feeder import Feeder
from withhold.data.images import default_size, thumbnail
from withhold.data.kind import Kind, Shape
from withhold.data.loading import load, takes
from withhold.data.opening import address, each_image, fit_tokenizer, holds, items, measure, open, register, splits
from withhold.data.samples import Samples
from withhold.data.sequences import Mask, Sequence, has_masks, read_mask, read_points, sequence, sequences
from withhold.data.series import Pairs, Series
from withhold.data.sounds import MOST_RATE
from withhold.data.texts import load_tokenizer
from withhold.data.videos import each_frame, frame_rate

__all__ = [
    "MOST_RATE", "Feeder", "Kind", "Mask", "Pairs", "Samples", "Sequence", "Series", "Shape", "address", "cache",
    "default_size", "each_frame", "each_image", "fit_tokenizer", "frame_rate", "has_masks", "holds", "items", "load",
    "load_tokenizer", "measure", "open", "read_mask", "read_points", "register", "sequence", "sequences", "splits",
    "takes", "thumbnail",
]  # fmt: skip
