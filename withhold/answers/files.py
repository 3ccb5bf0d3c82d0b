"""Files of the inputs and outputs of a method, with a reader or a writer for each type."""

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pillow

from withhold import data, views
from withhold.data import sounds, videos
from withhold.errors import UsageError
from withhold.files import write_csv, writing_folder
from withhold.methods.answers import Boxes, Class, Clip, Image, Mask, Mesh, Points, Sound, Words
from withhold.pictures import PALETTE, listed, to_image

if TYPE_CHECKING:
    from withhold.runs import Run


def read(run: "Run", given: dict[str, str]) -> dict[str, Any]:
    """Files by name -> values of the types annotated in the method's `apply_to`.

    Raises:
        UsageError: the method does not take this name or type of file, or a file is missing.
        WithholdError: a file cannot be read.
    """
    name, taken = run.config["method"], _taken(run)
    takes = ", ".join(f"--with {key}=FILE ({' or '.join(endings)})" for key, endings in taken.items())
    for key, path in given.items():
        if Path(path).suffix.lower() not in taken.get(key, ()):
            raise UsageError(f"{name} takes {takes or 'no --with'}. Omit --with {key}={path}.")
    if missing := [key for key in needed(run) if key not in given]:
        raise UsageError(f"{name} needs a {missing[0]}. Give {takes}.")
    return {key: taken[key][Path(path).suffix.lower()](run, path) for key, path in given.items()}


def needed(run: "Run") -> list[str]:
    """The names of the files that the method needs besides the item to which it is applied."""
    parameters = inspect.signature(run.cls.apply_to).parameters
    return [key for key in _taken(run) if parameters[key].default is inspect.Parameter.empty]


def _taken(run: "Run") -> dict[str, dict[str, Any]]:
    """The function that reads each type of file, by the name of the method's input and the ending of the file."""
    taken: dict[str, dict[str, Any]] = {}
    for key, parameter in inspect.signature(run.cls.apply_to, eval_str=True).parameters.items():
        for kind in typing.get_args(parameter.annotation) or (parameter.annotation,):
            for ending in READERS.get(kind, ("",))[0].split():
                taken.setdefault(key, {}).setdefault(ending, READERS[kind][1])
    return taken


def _read_mask(run: "Run", path: str) -> Mask:
    found = data.read_mask(path)
    return Mask(torch.from_numpy(found.labels), found.palette)


def _read_points(run: "Run", path: str) -> Points:
    names, places = data.read_points(path)
    if not names:
        raise UsageError(f"{path} has no points. Give a line with name, x, y for each point.")
    return Points(names, torch.from_numpy(places).float())


def _read_sound(run: "Run", path: str) -> Sound:
    found: Any = run.load_data(path, "audio")
    return Sound(views.to_float(torch.from_numpy(found.whole(0).copy())), round(found.rate))


READERS: dict[Any, tuple[str, Any]] = {
    Image: (".png .jpg .jpeg .webp", lambda run, path: Image(next(data.each_image(path))[1])),
    Mask: (".png", _read_mask),
    Points: (".csv", _read_points),
    Sound: (".wav .flac .ogg .mp3", _read_sound),
}
"""File name endings and reader of each type."""


@dataclass(frozen=True)
class Film:
    """A video that is generated while it is written: frames uint8 [h, w, 3], and frames per second."""

    frames: Iterable[np.ndarray]
    rate: Fraction


def write(answered: Iterable[tuple[str, dict[str, Any]]], folder: Path) -> list[Path]:
    """Write the outputs of items by name, as NAME-OUTPUT.ENDING in the sub-folders of the names.

    The folder is new and appears when it is complete.

    Images and masks are written as PNG files (the masks of a video as a folder of them), clips as an mp4 file and an
    animated WebP, sounds as WAV, meshes as obj, texts as txt, points and words as csv. The classes of all items are in
    one table, classes.csv, and their boxes in boxes.csv. legend.csv and legend.png list the colours of the classes in
    images and their numbers in masks.

    Returns:
        the files, all in `folder`.

    Raises:
        UsageError: `folder` exists.
    """
    written: list[Path] = []
    with writing_folder(folder) as filled:
        for path, save, value in _files(answered):
            (filled / path).parent.mkdir(parents=True, exist_ok=True)
            save(value, filled / path)
            written.append(folder / path)
    return written


def _files(answered: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[Path, Callable[[Any, Path], None], Any]]:
    """The path of each file in the folder, its writer, and its value."""
    taken: set[Path] = set()
    classes: list[dict[str, Any]] = []
    boxes: list[tuple[str, Boxes]] = []
    legend: dict[str, int] = {}
    for index, (name, answers) in enumerate(answered):
        place = Path(name)
        inside = Path(*(part for part in place.parent.parts if part not in (place.anchor, "..")))
        # Names may differ only in their ending, or be equal, such as an image paired with several sounds.
        stems = chain((place.stem, place.name), (f"{place.stem}-{number}" for number in count(index)))
        stem = next(inside / stem for stem in stems if inside / stem not in taken)
        taken.add(stem)
        for kind, value in answers.items():
            if isinstance(value, Class):
                several = {} if kind == "class" else {"column": kind}
                classes.append({"path": name, **several, **_class_row(value)})
                continue
            if isinstance(value, Boxes):
                boxes.append((name, value))
                continue
            if isinstance(value, Image):
                legend |= value.legend
            parts = {"": value}
            if isinstance(value, Mask) and value.labels.ndim == 3:
                parts = {f"/{number:05d}": replace(value, labels=labels) for number, labels in enumerate(value.labels)}
            for (mark, part), (ending, save) in product(parts.items(), WRITERS[type(value)].items()):
                said = re.sub(r"[/\\]", "_", kind)  # it may be a column of the user's table
                yield Path(f"{stem}-{said}{mark}.{ending}"), save, part
    if classes:
        columns = list(dict.fromkeys(column for row in classes for column in row))
        rows = [[row.get(column, "") for column in columns] for row in classes]
        yield Path("classes.csv"), _write_table, (columns, rows)
    if boxes:
        rows = [[name, *row] for name, value in boxes for row in tables(value)[1]]
        yield Path("boxes.csv"), _write_table, (["path", *tables(boxes[0][1])[0]], rows)
    if legend:
        colours = {
            name: "#{:02x}{:02x}{:02x}".format(*PALETTE[number % len(PALETTE)].tolist())
            for name, number in legend.items()
        }
        rows = [[legend[name], name, colour] for name, colour in colours.items()]
        yield Path("legend.csv"), _write_table, (["number", "class", "colour"], rows)
        yield Path("legend.png"), lambda found, path: listed(found).save(path, "PNG"), colours


def _class_row(value: Class) -> dict[str, Any]:
    """A row of classes.csv: the class, its probability, whether the label was given, and all class probabilities."""
    row = {"class": value.name, "probability": round(value.probability, 6)}
    told = {} if value.told is None else {"told": "yes" if value.told else "no"}
    return row | told | {f"probability of {name}": round(share, 6) for name, share in value.shares.items()}


def tables(value: Any) -> tuple[list[str], list[list[Any]]]:
    """The columns and rows of a value that is shown as a table; empty for other values."""
    match value:
        case str():
            return ["text"], [[value]]
        case Class(name, probability):
            return ["class", "probability"], [[name, round(probability, 6)]]
        case Words(scored):
            return ["word", "score"], [[word, round(score, 6)] for word, score in scored]
        case Points(names, places):
            k, found = len(names), places.reshape(-1, 2).tolist()
            rows = [[row // k, names[row % k], round(x, 1), round(y, 1)] for row, (x, y) in enumerate(found)]
            return ["frame", "name", "x", "y"], rows
        case Boxes(names, scores, corners):
            lines = zip(names, scores, corners.tolist(), strict=True)
            rows = [[name, round(score, 6), *(round(place, 1) for place in box)] for name, score, box in lines]
            return ["name", "score", "left", "top", "right", "bottom"], rows
    return [], []


def _write_table(table: tuple[list[str], list[list[Any]]], path: Path) -> None:
    write_csv(path, *table)


def _write_mask(mask: Mask, path: Path) -> None:
    labels = mask.labels.numpy()
    picture = Pillow.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16))
    if mask.palette is not None:
        picture.putpalette(mask.palette)
    picture.save(path, "PNG")


def _write_mp4(clip: Clip, path: Path) -> None:
    frames = (np.array(_picture(frame).convert("RGB")) for frame in clip.frames)
    videos.encode(frames, Fraction(clip.fps).limit_denominator(1001), path)


def _write_webp(clip: Clip, path: Path) -> None:
    first, *others = map(_picture, clip.frames)
    first.save(path, "WEBP", save_all=True, append_images=others, duration=round(1000 / clip.fps), loop=0, quality=90)


def _write_wav(sound: Sound, path: Path) -> None:
    samples = (sound.samples.numpy() * 2.0**15).round().clip(-(2**15), 2**15 - 1)
    path.write_bytes(sounds.encode(samples.astype(np.int16), sound.rate))


def _write_mesh(mesh: Mesh, path: Path) -> None:
    lines = [f"v {x:.6g} {y:.6g} {z:.6g}\n" for x, y, z in mesh.vertices.tolist()]
    path.write_text("".join(lines + [f"f {a} {b} {c}\n" for a, b, c in (mesh.faces + 1).tolist()]))


def _picture(pixels: torch.Tensor) -> Pillow.Image:
    return to_image(views.to_float(pixels))


TABLE = {"csv": lambda value, path: _write_table(tables(value), path)}
WRITERS: dict[type, dict[str, Any]] = {
    Image: {"png": lambda image, path: _picture(image.pixels).save(path, "PNG")},
    Clip: {"mp4": _write_mp4, "webp": _write_webp},
    Film: {"mp4": lambda film, path: videos.encode(film.frames, film.rate, path)},
    Sound: {"wav": _write_wav},
    Mask: {"png": _write_mask},
    Points: TABLE,
    Words: TABLE,
    Mesh: {"obj": _write_mesh},
    str: {"txt": lambda text, path: path.write_text(text, encoding="utf-8")},
}
"""File name endings and writers of each type."""
