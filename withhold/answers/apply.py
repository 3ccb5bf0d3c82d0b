"""Application of a trained method to every item of a source."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from withhold import kinds
from withhold.answers.files import read, write
from withhold.answers.tracking import follow, marks
from withhold.data import KINDS
from withhold.data.arranging import READABLE
from withhold.errors import UsageError
from withhold.methods import Classifier
from withhold.methods.answers import Answer, Class

if TYPE_CHECKING:
    from withhold.runs import Run


def apply(run: "Run", source: Any, folder: Path, **given: str) -> list[Path]:
    """Write the outputs of the trained method for every item of `source` to `folder`; see `answer` and `write`."""
    return write(answer(run, source, given), folder)


def answer(run: "Run", source: Any, given: dict[str, str]) -> Iterator[tuple[str, dict[str, Answer]]]:
    """Yield the name and the outputs of each item; items that cannot be read are skipped with a warning.

    A video with marked objects is processed as a whole, see `follow`. Items that are only classified are processed in
    batches.

    Args:
        given: files of additional inputs of the method, by name; see `read`.
    """
    values = read(run, given)
    if is_text(run, source):
        yield "text", run.apply(source, **values)
    elif kinds.of(run.kind).followed and marks(values):
        yield follow(run, source, given, values)
    elif only_names(run):
        for row in run.classify(source).to_pylist():
            path, name, probability = (row.pop(column) for column in ("path", "class", "probability"))
            told = row.pop("told", None)
            shares = {column.removeprefix("probability of "): share for column, share in row.items()}
            yield path, {"class": Class(name, probability, shares, told)}
    else:
        for name, item in kinds.of(run.kind).answered(source, run.load_data):
            yield name, run.apply(item, **values)


def is_text(run: "Run", source: Any) -> bool:
    """Whether `source` is itself a text; classifiers also take a file or a folder of texts.

    Raises:
        UsageError: it looks like a path, but there is no such file or folder.
    """
    if not kinds.of(run.encoder.kind).typed or not isinstance(source, str):
        return False
    path = source.partition("::")[0]
    if not only_names(run):
        return True
    if source.startswith("hf:") or os.path.exists(path):
        return False
    if not re.search(r"\s", path) and path.lower().endswith(("/", *READABLE, *KINDS["text"].endings)):
        raise UsageError(f"There is no file or folder {path!r}. To classify it as a text, write it into a file.")
    return True


def only_names(run: "Run") -> bool:
    """Whether the only output of the method is the class of an item."""
    return run.cls.apply_to is Classifier.apply_to
