"""Sources -> tables of undecoded items: folders, zip, manifests, parquet, IDX, npz, digits, hub."""

import errno
import os
import posixpath
import zipfile
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from withhold.data import arrays, hub, manifests
from withhold.data.annotations import Annotated
from withhold.data.arranging import READABLE, Tables, arranged, part_named, parts, walk
from withhold.data.belonging import attach, beside, coco_files, in_lists, part_classes, pictures_of, unused_boxes
from withhold.data.images import Images
from withhold.data.kind import Kind, Table, Unreadable
from withhold.data.parquet import Parquet
from withhold.data.sounds import Sounds
from withhold.data.tables import (
    Documents,
    Files,
    Frames,
    Lines,
    Paragraphs,
    digest,
    file_stamp,
    in_order,
    located,
)
from withhold.data.texts import Texts
from withhold.data.videos import Videos
from withhold.errors import UsageError, WithholdError, suggestion

ENCRYPTED = 1  # the bit in a zip entry's flags


def tables(source: Any, kind: type[Kind] = Images) -> Tables:
    """Return the tables of a source for a kind of data. Raises: UsageError, WithholdError."""
    if isinstance(source, str) and source.startswith("hf:"):
        source = hub.fetch(source.removeprefix("hf:"))
    if type(source).__module__.split(".")[0] == "datasets":
        sets = source if isinstance(source, dict) else {"": source}
        chosen = parts(sets) or {"": next(iter(sets.values()))}
        return {part: hub.Hub(dataset, kind) for part, dataset in chosen.items()}
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | os.PathLike):
        return {"": arrays.labelled(next(iter(tables(source[0], kind).values())), source[1])}
    if isinstance(source, list | tuple):
        if not source:
            wanted = "text" if kind is Texts else "path"
            raise UsageError(f"The list of {kind.noun}s is empty. Give at least one {wanted}.")
        if kind is Texts:
            return {"": Lines(source)}
        if not all(isinstance(path, str | os.PathLike) for path in source):
            raise UsageError(
                f"The list has items that are not paths. Give {kind.noun}s as one array, or a list of paths."
            )
        return {"": Files("", [os.fspath(path) for path in source])}
    if kind is Sounds and (isinstance(source, dict) or hasattr(source, "__array__")):
        return {"": arrays.as_waves(source)}
    if isinstance(source, dict):
        raise UsageError(f"A dict holds sounds, not {kind.noun}s. Give {kind.noun}s as an array.")
    if hasattr(source, "__array__"):
        read = arrays.as_clips if kind is Videos else arrays.as_pixels
        return {"": arrays.Arrays(read(source, "the array"))}
    if not isinstance(source, str | os.PathLike):
        raise UsageError(f"The data are a {type(source).__name__}. Give a folder, a file, a name, an array or a list.")
    text = os.fspath(source)
    if not text.strip():
        raise UsageError("The data are an empty text. Give a folder, a file or a name.")
    if text == "digits" and kind is Images:
        return {"": arrays.digits()}
    path = Path(text)
    if path.is_dir():
        return _folder(path, kind)
    if path.is_file():
        return _file(path, kind)
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    way_out = suggestion(path.name, siblings)
    if not way_out.startswith("did"):
        way_out = "give a folder, a file, digits, or hf:NAME for a Hugging Face dataset."
    raise UsageError(f"There is no file or folder {text!r}: {way_out}")


def _folder(path: Path, kind: type[Kind]) -> Tables:
    if kind in (Images, Videos) and (pairs := beside(path)):
        pictures = next(iter(pairs.values()))[0]
        found = in_lists(path / "ImageSets" / "Main", _folder(pictures, kind))
        for column, (images, folder) in pairs.items():
            if images == pictures:
                attach(column, found, images, folder)
                first = next(iter(found.values()))
                first.ignored = [*first.ignored, *(unused_boxes(path, folder) if column == "boxes" else [])]
        places = [path, next(iter(pairs.values()))[1], *[path.parent] * bool(part_named(path.name))]
        for part in found.values():
            part.part_classes = next(filter(None, map(part_classes, places)), ())
        return found
    if kind is Images and (apart := _parts_on_top(path, kind)):
        return apart
    if kind is Images and (files := coco_files(path / "annotations")):
        return {part: _manifest(file, kind) for part, file in files.items()}
    names = list(walk(path))
    if not names:
        raise UsageError(f"{path} is empty. Give a folder with {kind.noun}s.")

    def table(folder: str, below: list[str]) -> Table:
        root = str(path / folder)
        if kind is not Videos or below[0].lower().endswith(Videos.endings):
            return (Documents if kind is Texts else Files)(root, below)
        frames: dict[str, list[str]] = {}  # folders of images are videos
        for name in below:
            frames.setdefault(posixpath.dirname(name), []).append(name)
        return Frames(root, list(frames), list(map(in_order, frames.values())))

    found = arranged(path, names, kind, table)
    if len(found) > 1:
        return found
    direct = [path / name for name in names if "/" not in name]
    shards: dict[str, list[str]] = {}
    for file in direct:
        if file.suffix.lower() == ".parquet":
            shards.setdefault(file.stem.lower().split("-")[0], []).append(str(file))
    if shards:
        whole = {"": [file for part in shards.values() for file in part]}
        return {part: Parquet(files, kind) for part, files in (parts(shards) or whole).items()}
    endings = (*manifests.ENDINGS, *(kind.endings if kind is Texts else ()))
    listed = parts({file.name.lower().split(".")[0]: file for file in direct if file.name.lower().endswith(endings)})
    listed = listed or parts({arrays.idx_split(file.name): file for file in direct})
    if listed:
        return {part: _file(file, kind)[""] for part, file in listed.items()}
    if found:
        return found
    readable = [file for file in direct if file.name.lower().endswith(READABLE)]
    if len(readable) == 1:
        return _file(readable[0], kind)
    way_out = f"Give a folder with {', '.join(kind.endings)} files in it or in its sub-folders."
    raise UsageError(f"{path} has no {kind.noun}s. {way_out}")


def _parts_on_top(path: Path, kind: type[Kind]) -> Tables:
    """The tables of folders for the parts of a dataset, each with folders of images and of their masks or boxes in it.

    {} unless that is how the training part is arranged.
    """
    folders = {child.name.lower(): child for child in sorted(path.glob("*/")) if part_named(child.name)}
    apart = parts(folders)
    if "train" not in apart or not beside(apart["train"]):
        return {}
    found = {part: _folder(child, kind) for part, child in apart.items()}
    if any(list(tables) != [""] for tables in found.values()):  # parts within parts
        return {}
    others = [child.name for child in folders.values() if child not in apart.values()]
    first = found["train"][""]
    first.ignored = [*first.ignored, *((f"{name}/", f"{name}/ is not a part of {', '.join(found)}") for name in others)]
    return {part: tables[""] for part, tables in found.items()}


def _file(path: Path, kind: type[Kind]) -> Tables:
    name = path.name.lower()
    if name.endswith(manifests.ENDINGS):
        return {"": _manifest(path, kind)}
    if name.endswith(".parquet"):
        return {"": Parquet([str(path)], kind)}
    if name.endswith(".zip"):
        return _zip(path, kind)
    if kind in (Images, Videos) and name.endswith(".npz"):
        found = arrays.npz(path, kind)
        return parts(found) or {"": next(iter(found.values()))}
    if name.endswith(kind.endings):
        return {"": Paragraphs(str(path)) if kind is Texts else Files(str(path.parent), [path.name])}
    if kind is Images and "idx" in path.name:
        return {"": arrays.idx(path)}
    ways = ", ".join((*kind.endings, ".csv", ".jsonl", ".parquet", ".npz"))
    raise UsageError(f"{path} has no {kind.noun}s. Give a folder, or a {ways} or .zip file.")


def _manifest(path: Path, kind: type[Kind]) -> Table:
    columns = manifests.read(path)
    if not any(columns.values()):
        raise UsageError(f"{path} lists no {kind.noun}s. Add one line for each.")
    values = ["" if value is None else str(value) for value in columns[kind.item_column(path, columns)]]
    root = str(pictures_of(path, values) if isinstance(columns, Annotated) else path.parent)
    if kind is Texts:
        table: Table = Lines(values)
    else:
        names = [located(root, value) for value in values]
        pictures = kind is Videos and all(name.lower().endswith(Images.endings) for name in names)
        table = Frames(root, names, [[name] for name in names]) if pictures else Files(root, names)
    label = manifests.find(manifests.LABELS, columns)
    table.labels, table.listed, table.beside = columns[label] if label else None, kind is not Texts, columns
    table.part_classes = columns.classes if isinstance(columns, Annotated) else part_classes(path.parent)
    return table


class Zip(Files):
    """Files in an archive, by name; each is read when it is decoded, without unpacking to disk."""

    def __init__(self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]):
        super().__init__("", list(members))
        self.archive, self.members, self.lock = archive, list(members.values()), Lock()

    def items(self, indices):
        return [partial(self._read, self.members[index]) for index in indices]

    def stamp(self):
        return digest(self, [file_stamp(str(self.archive.filename))])

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        if member.file_size > manifests.MOST_BYTES:
            raise Unreadable(f"more than {manifests.MOST_BYTES >> 30} GB when unpacked; split it into parts")
        try:
            with self.lock:  # an archive's count of readers is not thread-safe
                return self.archive.read(member)
        except Exception as error:  # a damaged archive can raise nearly anything
            if isinstance(error, MemoryError) or getattr(error, "errno", None) not in (None, errno.EINVAL):
                reason = getattr(error, "strerror", None) or "out of memory"
                told = f"{self.archive.filename} cannot be read now ({reason}). Solve this and run the command again."
                raise WithholdError(told) from error
            raise Unreadable(str(error).rstrip(".") or type(error).__name__) from error


def _zip(path: Path, kind: type[Kind]) -> Tables:
    """Return the tables of an archive, as of a folder; folders that wrap everything in it are ignored."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = str(error).rstrip(".")
        raise WithholdError(f"{path} cannot be read as zip ({reason}). Copy or download it again.") from error
    members = ((entry.filename.replace("\\", "/"), entry) for entry in archive.infolist())
    entries = {posixpath.normpath(name).lstrip("/"): entry for name, entry in members}
    visible = [name for name in sorted(entries) if not (entries[name].is_dir() or f"/{name}".count("/."))]
    names = [name for name in visible if name.lower().endswith(kind.endings)]
    if not names:
        raise UsageError(f"{path} has no {kind.noun}s. Give an archive with {', '.join(kind.endings)} files in it.")
    if all(entries[name].flag_bits & ENCRYPTED for name in names):
        raise UsageError(f"{path} is encrypted. Unpack it and give the folder.")
    wrapper = posixpath.join(posixpath.commonpath(map(posixpath.dirname, names)), "")

    def table(folder: str, below: list[str]) -> Table:
        return Zip(archive, {name: entries[wrapper + folder + name] for name in below})

    inside = [name.removeprefix(wrapper) for name in visible if name.startswith(wrapper)]
    return arranged(path, inside, kind, table)
