"""The page of a query's results."""

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
    """Write a page to `path` that shows the query and its results `found` by `index.query`.

    Items are loaded from where they were embedded; for a missing item, the page shows its name.

    Args:
        query: the path of a row, as for `Index.row`.
        expand, diffuse: as given to `index.query`.
        asked: the result of `Run.embed` for a query that is not a row; `query` is then a file, or a list of one text.

    Raises:
        UsageError: `path` must not be replaced, see `withhold.files.claiming`.
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
    """How results are ranked, in words; "" for plain distances from the query."""
    asked = f"the mean of the query and its {expand} nearest" if expand else "the query"
    if diffuse:
        return f"Results are ranked by diffusion on the graph of neighbours; distances are from {asked}."
    return f"Distances are from {asked}." if expand else ""


def times(index: Index, found: pyarrow.Table) -> list[str]:
    """The times of the windows in the rows `found`, in words."""
    shown = kinds.of(index.kind)
    return [shown.when(*span) for span in zip(found["start"].to_pylist(), found["end"].to_pylist(), strict=True)]


def beginnings(index: Index, found: pyarrow.Table) -> list[str]:
    """The beginnings of the texts in the rows `found`; "" for an item that is missing or not a text."""
    items = data.items(index.source, found["path"].to_pylist(), index.kind)
    return [kinds.of(index.kind).preview(item).get("text", "") for item in items]
