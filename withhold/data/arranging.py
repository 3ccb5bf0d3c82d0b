"""Parts and classes of a folder or an archive from its file names, and the files that are left out."""

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from withhold.console import counted
from withhold.data import manifests
from withhold.data.images import Images
from withhold.data.kind import Kind, Table
from withhold.data.sounds import Sounds
from withhold.data.texts import Texts
from withhold.data.videos import Videos
from withhold.errors import UsageError, WithholdError

READABLE = (*manifests.ENDINGS, ".parquet", ".npz", ".zip")
KNOWN = tuple({*Images.endings, *Videos.endings, *Sounds.endings, *Texts.endings, *READABLE})
UNLABELLED = ("unlabelled", "unlabeled", "unsup", "unsupervised")
# Names of the parts of a dataset, in order of preference.
PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "t10k", "val", "valid", "validation", "dev"),
    "unlabelled": UNLABELLED,
}
MASKS = (("images", "masks"), ("JPEGImages", "Annotations"))
"""Names of the folders of images or frames and of their masks: plain ones, and those of DAVIS."""
STRAY = 9
"""Files of a kind are strays if files of other kinds are more than this many times as many."""

Tables = dict[str, Table]  # by the names of PARTS where a source holds several, else one entry called ""
T = TypeVar("T")


def part_named(name: str) -> str:
    """The part of a dataset, a key of `PARTS`, that a folder of this name may hold; "" for none."""
    return next((part for part, names in PARTS.items() if name.lower() in names), "")


def parts(found: dict[str, T]) -> dict[str, T]:
    """Return the entries named train, test and unlabelled, or synonyms; {} unless there is a train part and another.

    Without a train part, a folder called test is treated as a class.
    """
    named = {part: next((found[name] for name in names if name in found), None) for part, names in PARTS.items()}
    there = {part: value for part, value in named.items() if value is not None}
    return there if "train" in there and len(there) > 1 else {}


def arranged(where: Path, names: list[str], kind: type[Kind], table: Callable[[str, list[str]], Table]) -> Tables:
    """Make tables of the files of a folder or an archive: one for each part, or one for all. {} without such files.

    Sub-folders of a part are classes if every item is inside one and the parts together have several.

    Args:
        table: makes a table from the name of a folder, "train/" or "", and the files below it.

    Raises:
        UsageError: nearly all files are of other kinds, so this is probably the wrong source.
    """
    held = [name for name in names if name.lower().endswith(kind.endings)]
    if kind is Videos and not held:
        held = [name for name in names if name.lower().endswith(Images.endings)]
    held, masks = _without_masks(held) if kind is Images else (held, [])
    images = (
        "images/" if all(name.startswith("images/") for name in held) else ""
    )  # e.g. with a folder of masks next to it
    folders = _folders(held, images) or _folders(held, "") or {"": ""}
    taken = {*held, *masks}
    apart = [name for name in names if name not in taken and not name.lower().endswith(READABLE)]
    others = [name for name in apart if name.lower().endswith(KNOWN)]
    if 0 < STRAY * len(held) < len(others):
        raise UsageError(
            f"{where} has only {counted(len(held), kind.noun)}, such as {held[0]}, but {len(others):,} files of other "
            f"kinds, such as {others[0]}. Give a folder of {kind.noun}s, or the path of the file itself."
        )
    found: Tables = {}
    for part, folder in folders.items():
        below = [name.removeprefix(folder) for name in held if name.startswith(folder)]
        if below:
            found[part] = table(folder, below)
            there = [name.removeprefix(folder) for name in apart if name.startswith(folder)]
            found[part].ignored = [(name, _reason(name, kind)) for name in there]
    _sort_into_classes([table for part, table in found.items() if part != "unlabelled"])
    if found:
        first = next(iter(found.values()))
        reason = "masks are read only from a folder that directly contains images and masks"
        first.ignored = [*first.ignored, *((name, reason) for name in masks)]
        beside = [name for name in held if not name.startswith(tuple(folders.values()))]
        first.ignored += [(name, f"it is not in a part of {', '.join(found)}") for name in beside]
    return found


def _without_masks(names: list[str]) -> tuple[list[str], list[str]]:
    """Separate masks from images, if a folder has one sub-folder for each."""
    base = posixpath.join(posixpath.commonpath(map(posixpath.dirname, names)), "") if names else ""
    tops = [name.removeprefix(base).split("/")[0].lower() for name in names]
    for pair in MASKS:
        images, masks = map(str.lower, pair)
        if set(tops) == {images, masks}:
            apart = {sort: [name for name, top in zip(names, tops, strict=True) if top == sort] for sort in set(tops)}
            return apart[images], apart[masks]
    return names, []


def _folders(names: list[str], below: str) -> dict[str, str]:
    """The folders directly below a folder that are parts of a dataset, e.g. "images/train/"; see `parts`."""
    tops = {name.removeprefix(below).split("/")[0] for name in names if "/" in name.removeprefix(below)}
    return parts({top.lower(): f"{below}{top}/" for top in sorted(tops)})


def walk(root: Path, endings: tuple[str, ...] = ("",)) -> Iterator[str]:
    """Yield the relative paths of the files below a folder with these endings, sorted, without hidden ones."""
    waiting, seen = [""], set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(os.path.join(root, folder))
            if (status.st_dev, status.st_ino) in seen:  # a link to a parent folder
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, folder)) as scan:
                entries = sorted((entry for entry in scan if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            raise WithholdError(f"The folder {root / folder} cannot be read: {error.strerror}.") from error
        waiting += [f"{folder}{entry.name}/" for entry in reversed(entries) if entry.is_dir()]
        there = (entry.name for entry in entries if entry.is_file() or not os.path.exists(entry.path))
        yield from (folder + name for name in there if name.lower().endswith(endings))


def _reason(name: str, kind: type[Kind]) -> str:
    """Return why a file is not read as an item of a kind."""
    end = posixpath.splitext(name)[1].lower()
    if not end:
        return "no file extension"
    return f"{end} files are not {kind.noun}s" if name.lower().endswith(KNOWN) else f"{end} is not supported"


def _sort_into_classes(tables: list[Table]) -> None:
    tops = [[name.split("/")[0] if "/" in name else "" for name in table.names()] for table in tables]
    several = len({top for inside in tops for top in inside if top}) > 1
    for table, inside in zip(tables, tops, strict=True):
        if any(inside) and "" in inside:
            lost = table.names()[inside.index("")]
            table.unlabelled = f"{lost} is not in a sub-folder like the others: move it to its class, or to unlabelled"
        elif any(inside) and not several:
            table.unlabelled = f"all its items are in one sub-folder, {inside[0]}"
        elif any(inside):
            table.labels = ["" if top.lower() in UNLABELLED else top for top in inside]
