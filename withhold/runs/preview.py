"""Pictures of a method's inputs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.errors import UsageError
from withhold.files import PICTURES, claiming, write_picture
from withhold.options import Options
from withhold.orders import whole
from withhold.pictures import Columns, grid
from withhold.report import gallery
from withhold.runs.build import build_method, choose, load_streams, make_tokenizer, served, tell
from withhold.runs.run import Run
from withhold.runs.start import find_start
from withhold.training import prepare


def preview(method: str, *sources: Any, out: Path, **options: Any) -> None:
    """Draw a few samples as `method` sees them, next to what it withholds, to the PNG, JPEG or WebP file `out`.

    If `method` is the folder of a run, the picture also shows its predictions, by default on its training data.

    Args:
        options: encoder, size, labels and seed, as for training, and the method's own parameters.

    Raises:
        UsageError: invalid options, or a file that must not be replaced.
    """
    with claiming(out, PICTURES, *sources):
        write_picture(grid(_columns(method, *sources, **options)), out)


def _columns(
    method: str,
    *sources: Any,
    encoder: str | None = None,
    size: int | None = None,
    labels: data.Labels | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Columns:
    if (Path(method) / "config.json").is_file():
        if parameters or encoder or size or labels:
            raise UsageError(
                f"{method} is a run and has its own encoder, size, labels and parameters. Remove these options."
            )
        run = Run(method)
        return gallery.of_run(run, run.streams(*sources), seed)
    cls = registry.find(method)
    if labels is not None and len(sources) == 1:  # the file tells labelled from unlabelled items of one source
        sources *= len(cls.needs)
    with TemporaryDirectory() as folder:
        start = find_start(Options(encoder=encoder, size=size, seed=seed), Path(folder))
        parameters = start.configure(cls, parameters)
        chosen, decoding = choose(cls, sources, parameters, encoder, size, start=start.encoder)
        if "tokenizer" in decoding:
            make_tokenizer(cls, sources, chosen, decoding, Path(folder))
        streams = load_streams(cls, sources, decoding, labels=labels)
        learner = build_method(cls, chosen, parameters, seed, tell(cls, streams, parameters))
    count = whole(cls.order, min(8, *map(len, served(cls, streams).values())))
    feeder = data.Feeder(streams, cls.needs, count, seed, orders=cls.order, groups=learner.get_buffer)
    prepare(learner, feeder.streams, seed)
    return learner.picture(*learner.hide(feeder.batch(0)))
