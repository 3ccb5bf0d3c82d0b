"""What a person names -> tables of undecoded samples: folders, zip, manifests, parquet, IDX, npz, digits, hub."""

import csv
import json
import logging
import os
import posixpath
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from withhold.data import arrays
from withhold.data.images import Images
from withhold.data.kind import Kind
from withhold.data.sounds import Sounds
from withhold.data.tables import Documents, Files, Frames, Lines, Paragraphs, Parquet, Table, Zip
from withhold.data.texts import Texts
from withhold.data.videos import Videos
from withhold.errors import UsageError, WithholdError, suggestion

log = logging.getLogger("withhold")

LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label")
READABLE = (".csv", ".jsonl", ".parquet", ".npz", ".zip")
# What the two splits are called, the best name first.
SPLITS = {"train": ("train", "training"), "test": ("test", "testing", "t10k", "val", "valid", "validation", "dev")}

ENCRYPTED = 1  # the bit in a zip entry's flags

Tables = dict[str, Table]  # "train" and "test" where a source holds both, else one entry called ""


def tables(source: Any, kind: type[Kind] = Images) -> Tables:
    """The tables that a source holds of a kind of data. Raises: UsageError, WithholdError, each with a sentence."""
    if type(source).__module__.split(".")[0] == "datasets":
        from withhold.data import hub

        return hub.tables(source, kind)
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | os.PathLike):
        return {"": arrays.labelled(next(iter(tables(source[0], kind).values())), source[1])}
    if isinstance(source, list | tuple):
        if not source:
            raise UsageError(
                f"The list of {kind.noun}s is empty: give at least one {'text' if kind is Texts else 'path'}."
            )
        return {"": Lines(source) if kind is Texts else Files("", [os.fspath(path) for path in source])}
    if kind is Sounds and (isinstance(source, dict) or hasattr(source, "__array__")):
        return {"": arrays.as_waves(source)}
    if hasattr(source, "__array__"):
        return {"": arrays.of_kind(kind, source, "the array")}
    text = os.fspath(source)
    if text == "digits" and kind is Images:
        return {"": arrays.digits()}
    if text.startswith("hf:"):
        from withhold.data import hub

        return hub.tables(hub.fetch(text.removeprefix("hf:")), kind)
    path = Path(text)
    if path.is_dir():
        return _folder(path, kind)
    if path.is_file():
        return _file(path, kind)
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


def read_manifest(path: Path, kind: type[Kind] = Images) -> tuple[list[str], list[Any] | None]:
    """The paths (or texts) in a csv or jsonl file, as written there, and their labels (None where there are none)."""
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
        raise UsageError(f"{path} lists no {kind.noun}: give one line for each.")
    columns = [name for name in rows[0] if name]
    item, label = item_column(path, columns, kind), label_column(columns)
    return [str(row.get(item) or "") for row in rows], [row.get(label) for row in rows] if label else None


def item_column(where: Any, columns: Iterable[str], kind: type[Kind]) -> str:
    """The column that holds items of this kind, or their paths."""
    found = _first(kind.columns, columns)
    if found is None:
        way_out = (
            f"call it {' or '.join(kind.columns[:2])}."
            if kind is Texts
            else f"call it {kind.columns[0]}, path, file or filename, or bytes if it holds the encoded {kind.noun}s."
        )
        raise UsageError(f"{where} has no column of {kind.noun}s (it has {', '.join(columns)}): {way_out}")
    return found


def label_column(columns: Iterable[str]) -> str | None:
    """The column that holds labels, if there is one."""
    return _first(LABEL_COLUMNS, columns)


def _first(wanted: tuple[str, ...], columns: Iterable[str]) -> str | None:
    there = {name.lower(): name for name in columns}
    return next((there[name] for name in wanted if name in there), None)


def _folder(path: Path, kind: type[Kind]) -> Tables:
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    if not children:
        raise UsageError(f"{path} is empty: give a folder that holds {kind.noun}s.")
    files = [child for child in children if child.is_file()]

    parts = pair({child.name.lower(): child for child in children if child.is_dir()})
    held = {split: _below(part, kind) for split, part in parts.items()}
    if held and all(held.values()):
        return {split: table for split, table in held.items() if table is not None}

    shards: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix == ".parquet":
            shards.setdefault(file.stem.lower().split("-")[0], []).append(file)
    if shards:
        return {
            split: _parquet(part, kind)
            for split, part in (pair(shards) or {"": [file for part in shards.values() for file in part]}).items()
        }

    listed = [file for file in files if file.suffix in (".csv", ".jsonl") or (kind is Texts and _is(file.name, kind))]
    manifests = pair({file.name.lower().split(".")[0]: file for file in listed})
    pixels = pair({arrays.idx_split(file.name): file for file in files})
    if manifests or pixels:
        return {split: _file(file, kind)[""] for split, file in (manifests or pixels).items()}

    found = _below(path, kind)
    if found is not None:
        return {"": found}
    readable = [file for file in files if file.suffix in READABLE]
    if len(readable) == 1:
        return _file(readable[0], kind)
    raise UsageError(
        f"{path} holds no {kind.noun}: give a folder with {', '.join(kind.endings)} files in it or in its sub-folders."
    )


def _below(root: Path, kind: type[Kind]) -> Table | None:
    """What lies in a folder and below it; None where there is nothing of this kind. Folders of frames are videos."""
    names = walk(root, kind)
    if names:
        return _in_classes((Documents if kind is Texts else Files)(str(root), names))
    frames: dict[str, list[str]] = {}
    if kind is Videos:
        for name in walk(root, Images):
            frames.setdefault(posixpath.dirname(name), []).append(name)
    if not frames:
        return None
    return _in_classes(Frames(str(root), list(frames), list(frames.values())))


def _file(path: Path, kind: type[Kind]) -> Tables:
    if path.suffix == ".parquet":
        return {"": _parquet([path], kind)}
    if path.suffix in (".csv", ".jsonl"):
        return {"": _manifest(path, kind)}
    if path.suffix == ".zip":
        return _zip(path, kind)
    if kind in (Images, Videos) and path.suffix == ".npz":
        found = arrays.npz(path, kind)
        return pair(found) or {"": next(iter(found.values()))}
    if kind is Images and "idx" in path.name:
        return {"": arrays.idx(path)}
    if _is(path.name, kind):
        return {"": Paragraphs(str(path)) if kind is Texts else Files(str(path.parent), [path.name])}
    if kind is Images:
        raise UsageError(f"{path} is no data set: give a folder, an image, or a {', '.join(READABLE)} or IDX file.")
    ways = ", ".join((*kind.endings, ".csv", ".jsonl", ".parquet", *([".npz"] if kind is Videos else [])))
    raise UsageError(f"{path} holds no {kind.noun}: give a folder, or a {ways} or .zip file.")


def _manifest(path: Path, kind: type[Kind]) -> Table:
    values, labels = read_manifest(path, kind)
    if kind is Texts:
        return Lines(values, labels)
    root = str(path.parent)
    pictures = kind is Videos and all(value.lower().endswith(Images.endings) for value in values)
    table = Frames(root, values, [[value] for value in values]) if pictures else Files(root, values)
    table.labels, table.listed = labels, True
    return table


def _zip(path: Path, kind: type[Kind]) -> Tables:
    """The tables of an archive, as of a folder; folders that wrap everything in it count for nothing."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = str(error).rstrip(".")
        raise WithholdError(f"{path} cannot be read as zip ({reason}): copy or download it again.") from error
    entries = {posixpath.normpath(entry.filename).lstrip("/"): entry for entry in archive.infolist()}
    names = sorted(name for name, entry in entries.items() if _is(name, kind) and not entry.is_dir())
    if not names:
        raise UsageError(f"{path} holds no {kind.noun}: give an archive with {', '.join(kind.endings)} files in it.")
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


def _is(name: str, kind: type[Kind]) -> bool:
    """Whether a relative path is of this kind, by its ending; hidden files and folders are left out."""
    return name.lower().endswith(kind.endings) and not any(part.startswith(".") for part in name.split("/"))


def walk(root: Path, kind: type[Kind]) -> list[str]:
    """The relative paths of all files of a kind below a folder, in order; hidden files and folders are left out."""
    names, seen = [], set()
    for folder, children, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back up
            children.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        children[:] = sorted(child for child in children if not child.startswith("."))
        held = sorted(file for file in files if _is(file, kind))
        names += [os.path.relpath(os.path.join(folder, file), root) for file in held]
    return names


def _in_classes(table: Table) -> Table:
    """The table; sub-folders are its classes where there are several and every item is inside one."""
    names = table.names()
    tops = [name.split("/")[0] if "/" in name else "" for name in names]
    folders = set(tops) - {""}
    if folders and "" in tops:
        table.unlabelled = f"{names[tops.index('')]} lies beside its sub-folders, not in one"
    elif len(folders) == 1:
        table.unlabelled = f"all its items are in one sub-folder, {tops[0]}"
    elif folders:
        table.labels = tops
    return table


def _parquet(paths: list[Path], kind: type[Kind]) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(paths[0])
        item, label = item_column(paths[0], schema.names, kind), label_column(schema.names)
        if kind is Texts or str(schema.field(item).type) not in ("string", "large_string", "string_view"):
            return Parquet(list(map(str, paths)), item, label)
        rows = parquet.read_table(list(map(str, paths)), columns=[item, label] if label else [item])
    except (pyarrow.ArrowException, OSError) as error:
        raise WithholdError(f"{paths[0]} cannot be read as parquet: {str(error).splitlines()[0]}") from error
    labels = rows.column(label).to_pylist() if label else None
    return Files(str(paths[0].parent), [path or "" for path in rows.column(item).to_pylist()], labels)
