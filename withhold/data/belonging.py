"""Masks and boxes in folders next to images: one file for each image, or a COCO file for all of them."""

import logging
import os
import posixpath
import zlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from withhold.console import counted
from withhold.data import annotations, manifests
from withhold.data.arranging import MASKS, Tables, parts, walk
from withhold.data.images import Images
from withhold.data.tables import Files, Frames
from withhold.errors import UsageError, WithholdError

log = logging.getLogger("withhold")

BESIDE = {
    "mask": (MASKS, Images.endings),
    "boxes": ((("JPEGImages", "Annotations"), ("images", "annotations"), ("images", "labels")), annotations.ENDINGS),
}
"""Names of the folders of images or frames and of their masks or boxes, and the endings of the latter's files. The
names for boxes are those of Pascal VOC, labelImg and YOLO."""


def beside(root: Path) -> dict[str, tuple[Path, Path]]:
    """Return, by part ("mask", "boxes"), the folder of images or frames and the folder of their masks or boxes."""
    found: dict[str, tuple[Path, Path]] = {}
    for part, (names, endings) in BESIDE.items():
        for images, others in ((root / first, root / second) for first, second in names):
            if part not in found and images.is_dir() and others.is_dir() and any(walk(others, endings)):
                found[part] = images, others
    return found


def unused_boxes(root: Path, used: Path) -> list[tuple[str, str]]:
    """Return the places of boxes in other formats than the `used` one, with the reason why they are left out."""
    pairs, endings = BESIDE["boxes"]
    folders = [root / others for images, others in pairs if (root / images).is_dir() and (root / others).is_dir()]
    places = {folder for folder in folders if folder != used and any(walk(folder, endings))}
    form = posixpath.splitext(next(walk(used, endings)))[1]
    reason = f"boxes in another format; those of {used.name}/*{form} are used"
    return [(place.name, reason) for place in sorted({*places, *coco_files(root / "annotations").values()})]


def part_classes(folder: Path) -> tuple[str, ...]:
    """Return the class names of numbers in masks or boxes: the lines of classes.txt, or `names` of YOLO's data.yaml.

    () without these files.
    """
    path = next((path for name in ("classes.txt", "data.yaml") if (path := folder / name).is_file()), None)
    if path is None:
        return ()
    lines = _lines(path)
    names = tuple(filter(None, map(str.strip, lines)))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"{path} names the class {twice!r} twice. Give each number a different name.")
    return names


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file, or the class names of a YAML file. Raises: WithholdError: it cannot be read."""
    try:
        text = manifests.text_of(path.read_bytes())
        return _yaml_names(text) if path.suffix == ".yaml" else text.splitlines()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise WithholdError(f"{path} cannot be read: {error}.") from error


def _yaml_names(text: str) -> list[str]:
    """Return the class names under the key `names`, as [a, b] or {0: a, 1: b}; [] without them.

    Raises: ValueError: it is not YAML, a name is not a text, or the numbers are not 0, 1, 2 ...
    """
    try:
        names = yaml.load(text, yaml.BaseLoader)["names"]  # this loader keeps every value as text
    except yaml.YAMLError as error:
        raise ValueError("it is not YAML") from error
    except (KeyError, TypeError):
        return []
    if isinstance(names, dict):
        if {*names} != {*map(str, range(len(names)))}:
            raise ValueError("the numbers of its names are not 0, 1, 2 ... without a gap")
        names = [names[str(number)] for number in range(len(names))]
    names = [names] if isinstance(names, str) else names
    if not all(isinstance(name, str) for name in names):
        raise ValueError("its names are not a list of texts")
    return names


TRIED = 100
"""Names in a COCO file by which the folder of its images is found; some of the images may be missing."""


def attach(column: str, found: Tables, images: Path, folder: Path) -> None:
    """Add the files of a folder as a column to the tables of `images`, by stem; files without an image are listed."""
    files = {posixpath.splitext(name)[0]: name for name in walk(folder, BESIDE[column][1])}
    usual = posixpath.splitext(next(iter(files.values())))[1]
    for part in found.values():
        if isinstance(part, Files):
            inside, there = os.path.relpath(part.root, images), os.path.relpath(folder, part.root)
            stems = [posixpath.normpath(f"{inside}/{posixpath.splitext(name)[0]}") for name in part.names()]
            part.beside = {**part.beside, column: [f"{there}/{files.get(stem, stem + usual)}" for stem in stems]}
    stray = sorted({*files} - {posixpath.splitext(name)[0] for name in walk(images, Images.endings)} - {"classes"})
    if stray and isinstance(first := next(iter(found.values())), Files) and not isinstance(first, Frames):
        sort = "masks" if column == "mask" else column
        reason = f"{sort} without an image, such as {folder.name}/{files[stray[0]]}"
        first.ignored = [*first.ignored, *((files[stem], reason) for stem in stray)]


def in_lists(folder: Path, found: Tables) -> Tables:
    """Split images into parts by Pascal VOC's lists of stems; without such lists, return `found`."""
    if not folder.is_dir() or len(found) > 1 or not isinstance(whole := found[""], Files):
        return found
    lists = {file.stem: file for file in sorted(folder.glob("*.txt"))}
    if "test" in lists and "trainval" in lists:
        lists = {"train": lists["trainval"], "test": lists["test"]}
    rows = {posixpath.splitext(name)[0]: name for name in whole.names()}
    apart: dict[str, list[str]] = {}
    for part, file in parts(lists).items():
        lines = [line.strip() for line in _lines(file) if line.strip()]
        stems = [line if line in rows else line.split()[0] for line in lines]  # a list of one class has a second column
        apart[part] = [rows[stem] for stem in stems if stem in rows]
        if lost := [stem for stem in stems if stem not in rows]:
            log.warning("%s names %s without an image, such as %s", file, counted(len(lost), "item"), lost[0])
    return {part: Files(whole.root, names) for part, names in apart.items() if names} or found


def coco_files(folder: Path) -> dict[str, Path]:
    """Return the COCO files of a folder by part, e.g. instances_train2017.json; instances are preferred."""
    files = sorted(folder.glob("instances*.json")) or sorted(folder.glob("*.json"))
    named = {file.stem.rpartition("_")[2].rstrip("0123456789").lower(): file for file in files}
    return parts(named) or ({"": files[0]} if len(files) == 1 else {})


def pictures_of(path: Path, names: Sequence[str]) -> Path:
    """Return the folder that the names in a COCO file are relative to: its own folder or a usual one near it."""
    above, part = path.parent.parent, path.stem.rpartition("_")[2]
    near = (path.parent / "images", above, above / "images", above / part, above / "images" / part, path.parent)
    return next((root for name in names[:TRIED] for root in near if (root / name).is_file()), path.parent)
