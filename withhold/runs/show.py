"""Pictures of what a method sees, and files of what a trained one makes."""

from pathlib import Path
from typing import Any

import pyarrow.csv
from PIL import Image

from withhold import data
from withhold import methods as registry
from withhold.errors import UsageError
from withhold.files import writing
from withhold.runs.build import build_method, choose, classes_of, load_streams
from withhold.runs.pictures import grid, to_image
from withhold.runs.run import Run


def picture(
    method: str,
    *sources: Any,
    out: Path,
    encoder: str | None = None,
    size: int | None = None,
    seed: int = 0,
    **parameters: Any,
) -> None:
    """Render a few samples as `method` would see them, beside what it withholds, to the PNG file `out`."""
    cls = registry.find(method)
    parameters = registry.configure(cls, parameters)
    chosen, decoding = choose(cls, sources, parameters, encoder, size)
    streams = load_streams(cls, sources, decoding)
    learner = build_method(cls, chosen, parameters, seed, classes_of(cls, streams))
    feeder = data.Feeder(streams, cls.needs, min(8, *(len(s) for s in streams.values())), seed)
    learner.seed(seed)
    learner.prepare(**streams)
    sheet = grid(learner.picture(*learner.hide(feeder.batch(0))))
    kind = Image.registered_extensions().get(out.suffix.lower())
    if kind is None:
        raise UsageError(f"{out} is the name of no picture: let it end in .png.")
    with writing(out) as partial:
        sheet.save(partial, format=kind)


def apply(run: Run, source: str, folder: Path) -> list[Path]:
    """Give every image of `source` to the trained method, at its own size, and write what comes back to `folder`.

    A method that names classes gives one file, classes.csv. An image that cannot be read is skipped with a warning.
    """
    if run.names_classes:
        path = folder / "classes.csv"
        with writing(path) as partial:
            pyarrow.csv.write_csv(run.classify(source), partial)
        return [path]
    if run.kind == data.Pairs.kind:
        return _apply_to_pairs(run, source, folder)
    written: dict[Path, None] = {}  # a set that keeps its order
    for name, image in data.each_image(source):
        place = Path(name)
        inside = folder.joinpath(*(part for part in place.parent.parts if part not in (place.anchor, "..")))
        for kind, images in run.apply(image[None]).items():
            path = inside / f"{place.stem}-{kind}.png"
            if path in written:  # of another image that differs in its ending only
                path = inside / f"{place.name}-{kind}.png"
            with writing(path) as partial:
                to_image(images[0]).save(partial, format="PNG")
            written[path] = None
    return list(written)


def _apply_to_pairs(run: Run, source: str, folder: Path) -> list[Path]:
    """Give the middle of every video, or picture, and of its sound to the method, and write the images it makes."""
    pairs, written = run.load_data(source, data.Pairs.kind), []
    for index, name in enumerate(pairs.names):
        place = Path(name)
        inside = folder.joinpath(*(part for part in place.parent.parts if part not in (place.anchor, "..")))
        for kind, images in run.apply(pairs.batch([index])).items():
            written.append(inside / f"{place.stem}-{kind}.png")
            with writing(written[-1]) as partial:
                to_image(images[0]).save(partial, format="PNG")
    return written
