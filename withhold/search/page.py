"""What a query found, as a page that shows it with the distances."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow

from withhold import data, kinds
from withhold.files import claiming
from withhold.page import excerpt, render
from withhold.search.index import Index
from withhold.search.rows import about_of

TEMPLATE = Path(__file__).with_name("found.html.jinja")
LETTERS = 150


def write(
    path: Path, index: Index, query: str | Sequence[str], found: pyarrow.Table, *, asked: pyarrow.Table | None = None,
    expand: int = 0, diffuse: bool = False,
) -> Path:  # fmt: skip
    """Write a page to `path` that shows the rows `found`, by `index.query`, under what was asked with.

    Items are looked for where the data were when they were embedded; of one that is not there stands the name.

    Args:
        query: what `Index.row` takes.
        expand, diffuse: how it was asked, as `index.query` takes them.
        asked: where it is no row, what `Run.embed` made of it; then `query` is a file, or a list of one text.

    Raises:
        UsageError: `path` is not to be replaced, see `withhold.files.claiming`.
    """
    if asked is None:
        (about,) = kinds.previews(index.row(str(query)), index.kind, index.source)
    else:
        (about,) = kinds.previews(asked, about_of(asked.schema)["kind"], query)
    if not isinstance(query, str):
        about["name"] = excerpt(query[0], LETTERS)
    results = [
        cell | {"label": row.get("label"), "distance": f"{row['distance']:.3f}"}
        for row, cell in zip(found.to_pylist(), kinds.previews(found, index.kind, index.source), strict=True)
    ]
    with claiming(path, ".html .htm", query):
        return render(
            path, TEMPLATE, query=about, results=results, folder=index.folder, count=len(index),
            order=order(expand, diffuse), tile=kinds.of(index.kind).tile, source=index.source,
        )  # fmt: skip


def order(expand: int, diffuse: bool) -> str:
    """What the order of what was found and its distances follow, for a person, where these are not the query's own."""
    asked = f"the mean of the query and the {expand} nearest" if expand else "the query"
    if diffuse:
        return f"The order is that of a diffusion over the graph of neighbours, and distances are from {asked}."
    return f"Distances are from {asked}." if expand else ""


def times(index: Index, found: pyarrow.Table) -> list[str]:
    """Where the windows in the rows `found` lie, for a person."""
    shown = kinds.of(index.kind)
    return [shown.when(*span) for span in zip(found["start"].to_pylist(), found["end"].to_pylist(), strict=True)]


def beginnings(index: Index, found: pyarrow.Table) -> list[str]:
    """How the items in the rows `found` begin, if they are texts; "" of one that is not there any more."""
    items = data.items(index.source, found["path"].to_pylist(), index.kind)
    return [kinds.of(index.kind).preview(item).get("text", "") for item in items]
