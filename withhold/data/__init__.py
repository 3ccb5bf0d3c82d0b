"""Data: from sources on disk to batches of raw tensors. Independent of methods, networks and training.

    annotations  manifests                boxes in files; a file of columns -> values by name
    kind                                  a kind of data; a table of undecoded items
    images  videos  sounds  texts            the kinds: an item -> an array
    tables  arrays  hub                   the tables: files and parquet; arrays in memory; Hugging Face datasets
    arranging                             names of files -> parts and classes, and files that are left out
    belonging                             masks and boxes in folders next to images -> columns of their tables
    sources                               the name of a source -> tables, one for each part
    streaming  samples  series            decoded items: on demand, of one size, of any length
    labels                                label values -> numbers and classes
    opening                               a source before decoding: parts, shape, items, labels
    boxes  parts                          the parts of an item besides its class
    cache                                 decoded arrays on disk
    loading  feeder                       a source -> samples, through the cache; samples -> batches
    sequences                             whole videos with masks

Each module only imports modules above it.
"""

from withhold.data import cache
from withhold.data.feeder import Feeder
from withhold.data.images import default_size, thumbnail
from withhold.data.kind import Kind, Shape
from withhold.data.labels import Labels, label_files, share_classes
from withhold.data.loading import fit_tokenizer, labels_of, load, takes, window
from withhold.data.opening import (
    KINDS,
    Several,
    address,
    alone,
    each_image,
    holds,
    items,
    measure,
    open,
    register,
    splits,
    undecoded,
    unnamed,
)
from withhold.data.parts import known, learnable
from withhold.data.samples import Samples, together
from withhold.data.sequences import Mask, Sequence, has_masks, read_mask, read_points, sequence, sequences
from withhold.data.series import Joined, Series
from withhold.data.sounds import MOST_RATE
from withhold.data.targets import Target
from withhold.data.texts import load_tokenizer
from withhold.data.videos import each_frame, frame_rate

__all__ = [
    "Feeder", "Joined", "KINDS", "Kind", "Labels", "MOST_RATE", "Mask", "Samples", "Sequence", "Series", "Several",
    "Shape", "Target", "address", "alone", "cache", "default_size", "each_frame", "each_image", "fit_tokenizer",
    "frame_rate", "has_masks", "holds", "items", "known", "label_files", "labels_of", "learnable", "load",
    "load_tokenizer", "measure", "open", "read_mask", "read_points", "register", "sequence", "sequences",
    "share_classes", "splits", "takes", "thumbnail", "together", "undecoded", "unnamed",
    "window",
]  # fmt: skip
