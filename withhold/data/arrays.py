"""Datasets of arrays: digits, npz and IDX files, and arrays from Python."""

import gzip
import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from withhold.data import sounds
from withhold.data.images import Images
from withhold.data.kind import Kind, Table
from withhold.data.videos import Videos
from withhold.errors import UsageError, WithholdError


class Arrays(Table):
    """Pixels in memory, uint8 [n, h, w], [n, h, w, c] or, for videos, [n, t, h, w, c]."""

    def __init__(self, pixels: np.ndarray, labels: Sequence[Any] | None = None):
        self.pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        self.labels = labels

    def __len__(self):
        return len(self.pixels)

    def items(self, indices):
        return [self.pixels[index] for index in indices]

    def stamp(self):
        return _digest((self.pixels.shape, self.labels), self.pixels)


class Waves(Table):
    """Sounds in memory, int16 [s] of any lengths, with `rate` samples a second."""

    def __init__(self, sounds: Sequence[np.ndarray], rate: int):
        self.sounds, self.rate = sounds, rate

    def __len__(self):
        return len(self.sounds)

    def items(self, indices):
        return [sounds.encode(self.sounds[index], self.rate) for index in indices]

    def stamp(self):
        return _digest((self.rate, self.labels, list(map(len, self.sounds))), self.sounds)


def _digest(about: Any, parts: Iterable[Any]) -> str:
    total = hashlib.blake2b(repr(about).encode(), digest_size=16)
    for part in parts:
        total.update(np.ascontiguousarray(part).data)
    return total.hexdigest()


def as_waves(source: Any) -> Waves:
    """A dictionary of "array", int16 or float in [-1, 1], [n, s] or a list of [s], and "sampling_rate" -> a table."""
    if not isinstance(source, dict) or not {"array", "sampling_rate"} <= set(source):
        way_out = "Give {'array': sounds, 'sampling_rate': samples per second}, as in Hugging Face datasets."
        raise UsageError(f"An array of sounds needs a sampling rate. {way_out}")
    waves = []
    for sound in map(np.asarray, source["array"]):
        whole = sound.dtype == np.int16
        if sound.ndim != 1 or not (whole or np.issubdtype(sound.dtype, np.floating)):
            found = f"{sound.dtype} {list(sound.shape)}"
            raise UsageError(f"A sound in the array is {found}. Give int16, or floats in [-1, 1], of shape [n, s].")
        waves.append(sound if whole else np.rint(sound * 32767).clip(-32768, 32767).astype(np.int16))
    rate = int(source["sampling_rate"])
    if rate < 1:
        raise UsageError(f"A sampling rate of {rate} is not possible. Give samples per second, such as 16000.")
    return Waves(waves, rate)


def pixels(value: Any) -> np.ndarray:
    """Pixels in a cell of a table, [h, w], [h, w, c] or [c, h, w], or [t, h, w, c] of a video -> uint8, channels last.

    Raises: UsageError: they are not whole numbers from 0 to 255.
    """
    found = np.asarray(value)
    whole = found.dtype.kind in "iub" and found.min(initial=0) >= 0 and found.max(initial=0) <= 255
    if not whole or found.ndim not in (2, 3, 4):
        raise UsageError(
            f"The pixels in a table are {found.dtype} {list(found.shape)}. Give whole numbers from 0 to 255, of shape "
            "[h, w], [h, w, c] or [c, h, w]."
        )
    first = found.ndim == 3 and found.shape[2] not in (1, 3) and found.shape[0] in (1, 3)
    return (np.moveaxis(found, 0, 2) if first else found).astype(np.uint8)


def as_pixels(images: Any, where: str) -> np.ndarray:
    """An array or tensor uint8 [n, h, w], [n, h, w, c] or [n, c, h, w] -> ndarray uint8 [n, h, w, c], c 1 or 3."""
    channels_first = not isinstance(images, np.ndarray)  # torch's order, if both are possible
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8:
        raise UsageError(f"The images in {where} are {pixels.dtype}. Give uint8 values in 0..255.")
    if pixels.ndim == 3:
        return pixels[..., None]
    if pixels.ndim == 4:
        axes = [axis for axis in ((1, 3) if channels_first else (3, 1)) if pixels.shape[axis] in (1, 3)]
        if axes:
            return np.moveaxis(pixels, axes[0], 3)
    raise UsageError(
        f"The images in {where} have the shape {list(pixels.shape)}. "
        f"Give [n, h, w], [n, h, w, c] or [n, c, h, w] with 1 or 3 channels."
    )


def as_clips(videos: Any, where: str) -> np.ndarray:
    """An array or tensor uint8 [n, t, h, w] or [n, t, h, w, c] (or channels first) -> ndarray uint8 [n, t, h, w, c]."""
    shape = tuple(np.shape(videos))
    if len(shape) not in (4, 5):
        raise UsageError(f"The videos in {where} have the shape {list(shape)}. Give [n, t, h, w] or [n, t, h, w, c].")
    frames = as_pixels(videos.reshape(-1, *shape[2:]), where)
    return frames.reshape(*shape[:2], *frames.shape[1:])


def labelled(table: Table, labels: Any) -> Table:
    """Set the labels of a table, one value per sample; -1 among integers means no label."""
    given = np.asarray(labels).reshape(-1)
    values = [None if given.dtype.kind == "i" and value == -1 else value for value in given.tolist()]
    if len(values) != len(table):
        raise UsageError(f"There are {len(table)} items but {len(values)} labels. Give one label for each item.")
    table.labels = values
    return table


def digits() -> Table:
    """The 1,797 handwritten digits of 8x8 pixels from scikit-learn; their values 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    held = load_digits()
    return labelled(Arrays(np.rint(held.images * (255 / 16)).astype(np.uint8)), held.target)


def npz(path: Path, kind: type[Kind] = Images) -> dict[str, Table]:
    """Read the tables of an npz file by split ("" without one): images and labels, or x_train and y_train."""
    parts = dict.fromkeys((f"{kind.noun}s", kind.noun, "x", "data", "arr"), 0)
    parts |= dict.fromkeys(("labels", "label", "y", "targets"), 1)
    found: dict[str, list[Any]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = list(file)
            for key in keys:
                words = key.lower().split("_")
                part = next((parts[word] for word in words if word in parts), None)
                if part is not None:
                    split = "_".join(word for word in words if word not in parts and not word.isdecimal())
                    found.setdefault(split, [None, None])[part] = file[key]
    except (OSError, TypeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:  # npy raises TypeError
        raise WithholdError(f"{path} cannot be read as npz: {str(error).rstrip('.')}.") from error
    held = {split: part for split, part in found.items() if part[0] is not None}
    if not held:
        wanted = f"{kind.noun}s"
        raise UsageError(f"{path} has no array of {wanted} (it has {', '.join(keys)}). Name one {wanted}, x or data.")
    read = as_clips if kind is Videos else as_pixels
    tables: dict[str, Table] = {split: Arrays(read(values, str(path))) for split, (values, _) in held.items()}
    for split, table in tables.items():
        if held[split][1] is not None:
            labelled(table, held[split][1])
    return tables


def idx(path: Path) -> Table:
    """Read an IDX file of images, with the file of labels of the corresponding name next to it."""
    table = Arrays(as_pixels(_read_idx(path), str(path)))
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    return labelled(table, _read_idx(labels)) if labels != path and labels.is_file() else table


def idx_split(name: str) -> str:
    """The split in a file's name, e.g. "train" for train-images-idx3-ubyte.gz; "" for other files."""
    stem, found, _ = name.partition("-images-idx3")
    return stem.lower().split("-")[-1] if found else ""


def _read_idx(path: Path) -> np.ndarray:
    """Read a file of LeCun's IDX format (http://yann.lecun.com/exdb/mnist): magic, shape (big-endian), values."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, axes = struct.unpack_from(">HBB", data)
        if (zero, kind) != (0, 8):
            raise ValueError("it does not start like an IDX file of bytes")
        shape = struct.unpack_from(f">{axes}I", data, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise WithholdError(f"{path} cannot be read as IDX: {error}.") from error
