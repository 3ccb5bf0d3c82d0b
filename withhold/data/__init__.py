"""Data: from anything on disk to batches of raw tensors. Nothing here knows of methods, networks or training.

    annotations  manifests                boxes as files have them; a file of columns -> values by name
    kind                                  what a kind of data is; a table of items that are not decoded yet
    images  videos  sounds  texts            the kinds: an item -> an array
    tables  arrays  hub                   the tables: files and parquet; arrays in memory; Hugging Face's data sets
    arranging                             names of files -> parts and classes, and what is left out
    belonging                             masks and boxes that lie beside images -> columns of their tables
    sources                               what a person names -> tables, one for each part
    streaming  samples  series            decoded items: on demand, of one size, of any length
    labels                                label values -> numbers and classes
    opening                               what is known of a source before it is decoded: parts, shape, items, labels
    boxes  parts                          what belongs to an item beside its class
    cache                                 decoded arrays on disk
    loading  feeder                       a source -> samples, through the cache; samples -> batches
    sequences                             whole videos with masks

Each knows those above it only.
"""

from withhold.data import cache
from withhold.data.feeder import Feeder
from withhold.data.images import default_size, thumbnail
from withhold.data.kind import Kind, Shape
from withhold.data.labels import Labels, label_files, share_classes
from withhold.data.loading import fit_tokenizer, labels_of, load, takes
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
from withhold.data.samples import Samples, Target, together
from withhold.data.sequences import Mask, Sequence, has_masks, read_mask, read_points, sequence, sequences
from withhold.data.series import Joined, Series
from withhold.data.sounds import MOST_RATE
from withhold.data.texts import load_tokenizer
from withhold.data.videos import each_frame, frame_rate

__all__ = [
    "Feeder", "Joined", "KINDS", "Kind", "Labels", "MOST_RATE", "Mask", "Samples", "Sequence", "Series", "Several",
    "Shape", "Target", "address", "alone", "cache", "default_size", "each_frame", "each_image", "fit_tokenizer",
    "frame_rate", "has_masks", "holds", "items", "known", "label_files", "labels_of", "learnable", "load",
    "load_tokenizer", "measure", "open", "read_mask", "read_points", "register", "sequence", "sequences",
    "share_classes", "splits", "takes", "thumbnail", "together", "undecoded", "unnamed",
]  # fmt: skip
