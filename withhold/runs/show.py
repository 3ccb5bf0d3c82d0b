"""Pictures of what a method sees, and files of what a trained one makes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.csv
import torch
from PIL import Image

from withhold import data
from withhold import methods as registry
from withhold.errors import UsageError
from withhold.files import writing
from withhold.runs import gallery, masks
from withhold.runs.build import build_method, choose, classes_of, load_streams, make_tokenizer
from withhold.runs.pictures import Columns, grid, save_gif, to_image
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
    """Render a few samples as `method` would see them, beside what it withholds, to the PNG file `out`.

    Where `method` is the folder of a run, the picture shows what that says too. Without `sources` it is of what the
    run was trained on.
    """
    if (Path(method) / "config.json").is_file():
        if parameters or encoder or size:
            raise UsageError(f"{method} is a run, which has its encoder, size and parameters: leave them out.")
        run = Run(method)
        _save(gallery.columns(run.method, [gallery.draw(part, seed) for part in run.streams(*sources)], seed), out)
        return
    cls = registry.find(method)
    parameters = registry.configure(cls, parameters)
    chosen, decoding = choose(cls, sources, parameters, encoder, size)
    with TemporaryDirectory() as folder:
        if "tokenizer" in decoding:
            make_tokenizer(cls, sources, chosen, decoding, Path(folder))
        streams = load_streams(cls, sources, decoding)
        learner = build_method(cls, chosen, parameters, seed, classes_of(cls, streams))
    feeder = data.Feeder(streams, cls.needs, min(8, *(len(s) for s in streams.values())), seed)
    learner.seed(seed)
    learner.prepare(**streams)
    _save(learner.picture(*learner.hide(feeder.batch(0))), out)


def _save(columns: Columns, out: Path) -> None:
    sheet = grid(columns)
    kind = Image.registered_extensions().get(out.suffix.lower())
    if kind is None:
        raise UsageError(f"{out} is the name of no picture: let it end in .png.")
    with writing(out) as partial:
        sheet.save(partial, format=kind)


def apply(run: Run, source: str, folder: Path, mask: str | None = None) -> list[Path]:
    """Give every image or video of `source` to the trained method, and write what comes back to `folder`.

    An image has its own size, a video the size and frame rate of the run. What comes back as an image becomes a PNG
    file, as a clip a GIF. A method that names classes gives one file, classes.csv. What cannot be read is skipped with
    a warning. One that tracks takes one video, and the `mask` of its first frame: see `withhold.runs.masks.follow`.
    """
    if mask is not None or masks.tracks(run):
        return masks.follow(run, source, mask, folder)
    if run.names_classes:
        path = folder / "classes.csv"
        with writing(path) as partial:
            pyarrow.csv.write_csv(run.classify(source), partial)
        return [path]
    written: dict[Path, None] = {}  # a set that keeps its order
    for index, (name, inputs) in enumerate(_items(run, source)):
        place = Path(name)
        inside = folder.joinpath(*(part for part in place.parent.parts if part not in (place.anchor, "..")))
        for kind, made in run.apply(*inputs).items():
            ending = "gif" if made.ndim == 5 else "png"
            path = inside / f"{place.stem}-{kind}.{ending}"
            if path in written:  # of another item that differs in its ending only
                path = inside / f"{place.name}-{kind}.{ending}"
            if path in written:  # of a picture that goes with several sounds
                path = inside / f"{place.stem}-{index}-{kind}.{ending}"
            with writing(path) as partial:
                if made.ndim == 5:
                    save_gif(made[0], partial, run.config["decoding"]["fps"])
                else:
                    to_image(made[0]).save(partial, format="PNG")
            written[path] = None
    return list(written)


def _items(run: Run, source: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The name of each item, and what `apply_to` takes of it.

    An image uint8 [1, c, h, w], a whole video [1, t, c, h, w]; of videos with sound, the middle of both, as a pair.
    """
    if run.kind == "image":
        for name, image in data.each_image(source):
            yield name, (image[None],)
        return
    samples: Any = run.load_data(source, run.kind)
    for index, name in enumerate(samples.names):
        if run.kind == data.Pairs.kind:
            yield name, (samples.batch([index]),)
        else:
            yield name, (torch.from_numpy(samples.whole(index).copy()).permute(0, 3, 1, 2)[None],)
