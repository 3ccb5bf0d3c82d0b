"""What a person names -> tables of undecoded samples: folders, zip, manifests, parquet, IDX, npz, digits, hub."""

import csv
import json
import os
import posixpath
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from withhold.data import arrays
from withhold.data.images import EXTENSIONS
from withhold.data.tables import Files, Parquet, Table, Zip
from withhold.errors import UsageError, WithholdError, suggestion

IMAGE_COLUMNS = ("image", "img", "path", "file", "filename", "file_name", "image_path", "bytes", "jpg", "png", "name")
LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label")
READABLE = (".csv", ".jsonl", ".parquet", ".npz", ".zip")
# What the two splits are called, the best name first.
SPLITS = {"train": ("train", "training"), "test": ("test", "testing", "t10k", "val", "valid", "validation", "dev")}

ENCRYPTED = 1  # the bit in a zip entry's flags

Tables = dict[str, Table]  # "train" and "test" where a source holds both, else one entry called ""


def tables(source: Any) -> Tables:
    """The tables that a source holds. Raises: UsageError, WithholdError, each with a sentence for a person."""
    if type(source).__module__.split(".")[0] == "datasets":
        from withhold.data import hub

        return hub.tables(source)
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | os.PathLike):
        return {"": arrays.labelled(next(iter(tables(source[0]).values())), source[1])}
    if isinstance(source, list | tuple):
        if not source:
            raise UsageError("The list of images is empty: give at least one path.")
        return {"": Files("", [os.fspath(path) for path in source])}
    if hasattr(source, "__array__"):
        return {"": arrays.Arrays(arrays.as_pixels(source, "the array"))}
    text = os.fspath(source)
    if text == "digits":
        return {"": arrays.digits()}
    if text.startswith("hf:"):
        from withhold.data import hub

        return hub.tables(hub.fetch(text.removeprefix("hf:")))
    path = Path(text)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = suggestion(path.name, siblings)
    way_out = (
        near if near.startswith("did") else "give a folder, a file, digits, or hf:NAME for a Hugging Face data set."
    )
    raise UsageError(f"There is no file or folder {text!r}: {way_out}")


def pair(found: dict[str, Any]) -> dict[str, Any]:
    """The entries that are called train and test, or the like, under these two names; {} unless both are there."""
    parts = {split: next((found[name] for name in names if name in found), None) for split, names in SPLITS.items()}
    return {} if None in parts.values() else parts


def read_manifest(path: Path) -> tuple[list[str], list[Any] | None]:
    """The paths in a csv or jsonl file, as written there, and their labels (None where no column holds them)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = (
                list(csv.DictReader(file))
                if path.suffix == ".csv"
                else [json.loads(line) for line in file if line.strip()]
            )
    except (csv.Error, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WithholdError(f"{path} cannot be read as {path.suffix[1:]}: {error}.") from error
    if not rows:
        raise UsageError(f"{path} lists no image: give one line for each.")
    columns = [name for name in rows[0] if name]
    image, label = image_column(path, columns), label_column(columns)
    return [str(row.get(image, "")) for row in rows], [row.get(label) for row in rows] if label else None


def image_column(where: Any, columns: Iterable[str]) -> str:
    """The column that holds images or their paths."""
    image = _first(IMAGE_COLUMNS, columns)
    if image is None:
        raise UsageError(
            f"{where} has no column of images (it has {', '.join(columns)}): "
            f"call it image, path, file or filename, or bytes if it holds the encoded images."
        )
    return image


def label_column(columns: Iterable[str]) -> str | None:
    """The column that holds labels, if there is one."""
    return _first(LABEL_COLUMNS, columns)


def _first(wanted: tuple[str, ...], columns: Iterable[str]) -> str | None:
    there = {name.lower(): name for name in columns}
    return next((there[name] for name in wanted if name in there), None)


def _folder(path: Path) -> Tables:
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    if not children:
        raise UsageError(f"{path} is empty: give a folder that holds images.")
    files = [child for child in children if child.is_file()]

    parts = pair({child.name.lower(): child for child in children if child.is_dir()})
    held = {split: _images(part) for split, part in parts.items()}
    if held and all(held.values()):
        return {split: _in_classes(Files(str(parts[split]), names)) for split, names in held.items()}

    shards: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix == ".parquet":
            shards.setdefault(file.stem.lower().split("-")[0], []).append(file)
    if shards:
        return {
            split: _parquet(part)
            for split, part in (pair(shards) or {"": [file for part in shards.values() for file in part]}).items()
        }

    manifests = pair({file.stem.lower(): file for file in files if file.suffix in (".csv", ".jsonl")})
    pixels = pair({arrays.idx_split(file.name): file for file in files})
    if manifests or pixels:
        return {split: _file(file)[""] for split, file in (manifests or pixels).items()}

    names = _images(path)
    if names:
        return {"": _in_classes(Files(str(path), names))}
    readable = [file for file in files if file.suffix in READABLE]
    if len(readable) == 1:
        return _file(readable[0])
    raise UsageError(
        f"{path} holds no image: give a folder with {', '.join(EXTENSIONS)} files in it or in its sub-folders."
    )


def _file(path: Path) -> Tables:
    if path.suffix == ".parquet":
        return {"": _parquet([path])}
    if path.suffix in (".csv", ".jsonl"):
        names, labels = read_manifest(path)
        return {"": Files(str(path.parent), names, labels)}
    if path.suffix == ".npz":
        found = arrays.npz(path)
        return pair(found) or {"": next(iter(found.values()))}
    if path.suffix == ".zip":
        return _zip(path)
    if "idx" in path.name:
        return {"": arrays.idx(path)}
    if path.suffix.lower() in EXTENSIONS:
        return {"": Files(str(path.parent), [path.name])}
    raise UsageError(f"{path} is no data set: give a folder, an image, or a {', '.join(READABLE)} or IDX file.")


def _zip(path: Path) -> Tables:
    """The tables of an archive, as of a folder; folders that wrap everything in it count for nothing."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = str(error).rstrip(".")
        raise WithholdError(f"{path} cannot be read as zip ({reason}): copy or download it again.") from error
    entries = {posixpath.normpath(entry.filename).lstrip("/"): entry for entry in archive.infolist()}
    names = sorted(name for name, entry in entries.items() if _is_image(name) and not entry.is_dir())
    if not names:
        raise UsageError(f"{path} holds no image: give an archive with {', '.join(EXTENSIONS)} files in it.")
    if all(entries[name].flag_bits & ENCRYPTED for name in names):
        raise UsageError(f"{path} is encrypted: unpack it, and give the folder.")

    wrapper = posixpath.join(posixpath.commonpath(map(posixpath.dirname, names)), "")
    folders = {name.removeprefix(wrapper).split("/")[0] for name in names}
    parts = pair({folder.lower(): f"{wrapper}{folder}/" for folder in folders}) or {"": wrapper}
    return {
        split: _in_classes(
            Zip(archive, {name.removeprefix(part): entries[name] for name in names if name.startswith(part)})
        )
        for split, part in parts.items()
    }


def _is_image(name: str) -> bool:
    """Whether a relative path is that of an image, by its ending; hidden files and folders are left out."""
    return name.lower().endswith(EXTENSIONS) and not any(part.startswith(".") for part in name.split("/"))


def _images(root: Path) -> list[str]:
    """The relative paths of all images below a folder, in order; hidden files and folders are left out."""
    names, seen = [], set()
    for folder, children, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back up
            children.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        children[:] = sorted(child for child in children if not child.startswith("."))
        names += [os.path.relpath(os.path.join(folder, file), root) for file in sorted(filter(_is_image, files))]
    return names


def _in_classes(table: Table) -> Table:
    """The table; sub-folders are its classes where there are several and every image is inside one."""
    names = table.names()
    tops = [name.split("/")[0] if "/" in name else "" for name in names]
    folders = set(tops) - {""}
    if folders and "" in tops:
        table.unlabelled = f"{names[tops.index('')]} lies beside its sub-folders, not in one"
    elif len(folders) == 1:
        table.unlabelled = f"all its images are in one sub-folder, {tops[0]}"
    elif folders:
        table.labels = tops
    return table


def _parquet(paths: list[Path]) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(paths[0])
        image, label = image_column(paths[0], schema.names), label_column(schema.names)
        if str(schema.field(image).type) not in ("string", "large_string", "string_view"):
            return Parquet(list(map(str, paths)), image, label)
        rows = parquet.read_table(list(map(str, paths)), columns=[image, label] if label else [image])
    except (pyarrow.ArrowException, OSError) as error:
        raise WithholdError(f"{paths[0]} cannot be read as parquet: {str(error).splitlines()[0]}") from error
    labels = rows.column(label).to_pylist() if label else None
    return Files(str(paths[0].parent), [path or "" for path in rows.column(image).to_pylist()], labels)
