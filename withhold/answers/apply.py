"""Files of what a trained method makes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.csv
import torch

from withhold import data
from withhold.answers import tracking
from withhold.files import writing
from withhold.pictures import save_gif, to_image

if TYPE_CHECKING:
    from withhold.runs import Run


def apply(run: "Run", source: str, folder: Path, mask: str | None = None) -> list[Path]:
    """Give every image or video of `source` to the trained method, and write what comes back to `folder`.

    An image has its own size, a video the size and frame rate of the run. What comes back as an image becomes a PNG
    file, as a clip a GIF. A method that names classes gives one file, classes.csv. What cannot be read is skipped with
    a warning. One that tracks takes one video, and the `mask` of its first frame: see `tracking.follow`.
    """
    if mask is not None or tracking.tracks(run):
        return tracking.follow(run, source, mask, folder)
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


def _items(run: "Run", source: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The name of each item, and what `apply_to` takes of it.

    An image uint8 [1, c, h, w], a whole video [1, t, c, h, w]; of videos with sound, the middle of both, as a pair.
    """
    if run.kind == "image":
        for name, image in data.each_image(source):
            yield name, (image[None],)
        return
    samples: Any = run.load_data(source, run.kind)
    for index, name in enumerate(samples.names):
        if isinstance(samples, data.Joined):
            yield name, (samples.batch([index]),)
        else:
            yield name, (torch.from_numpy(samples.whole(index).copy()).permute(0, 3, 1, 2)[None],)
