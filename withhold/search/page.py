"""What a query found, as a page that shows it with the distances."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow

from withhold import data, kinds
from withhold.files import claiming
from withhold.page import excerpt, render
from withhold.search.index import Index, about_of

TEMPLATE = Path(__file__).with_name("found.html.jinja")
LETTERS = 150


def write(
    path: Path, index: Index, query: str | Sequence[str], found: pyarrow.Table, *, asked: pyarrow.Table | None = None
) -> Path:
    """Write a page to `path` that shows the rows `found`, by `index.query`, under what was asked with.

    Items are looked for where the data were when they were embedded; of one that is not there stands the name.

    Args:
        query: the path of a row.
        asked: where it is no row, what `Run.embed` made of it; then `query` is a file, or a list of one text.

    Raises:
        UsageError: `path` is not to be replaced, see `withhold.files.claiming`.
    """
    if asked is None:
        kind, (item,) = index.kind, data.items(index.source, [str(query)], index.kind)
    else:
        kind = about_of(asked.schema)["kind"]
        (item,) = data.items(query, asked["path"].to_pylist(), kind)
    rows, shown = found.to_pylist(), kinds.of(index.kind)
    results = [
        {"name": row["path"], "label": row.get("label"), "distance": f"{row['distance']:.3f}"} | shown.preview(item)
        for row, item in zip(rows, data.items(index.source, found["path"].to_pylist(), index.kind), strict=True)
    ]
    name = query if isinstance(query, str) else excerpt(query[0], LETTERS)
    with claiming(path, ".html .htm", query):
        return render(
            path, TEMPLATE, query={"name": name} | kinds.of(kind).preview(item), results=results, folder=index.folder,
            count=len(index), tile=shown.tile,
            lost=index.source if any(not {"image", "text"} & set(result) for result in results) else None,
        )  # fmt: skip


def beginnings(index: Index, found: pyarrow.Table) -> list[str]:
    """How the items in the rows `found` begin, if they are texts; "" of one that is not there any more."""
    items = data.items(index.source, found["path"].to_pylist(), index.kind)
    return [kinds.of(index.kind).preview(item).get("text", "") for item in items]
