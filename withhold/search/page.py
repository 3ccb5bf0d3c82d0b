"""What a query found, as a page of pictures with their distances."""

from pathlib import Path
from typing import Any

import pyarrow

from withhold import data
from withhold.data.kind import Item, Unreadable
from withhold.page import THUMBNAIL, cell, render
from withhold.search.index import Index

TEMPLATE = Path(__file__).with_name("found.html.jinja")


def write(path: Path, index: Index, query: str, found: pyarrow.Table, *, of_row: bool) -> Path:
    """Write a page to `path` that shows the rows `found`, by `index.query`, under the picture of `query`.

    Pictures are looked for where the data were when they were embedded; of one that is not there stands the name.

    Args:
        query: the path of a row (`of_row`), or of a file.
    """
    asked = data.items(index.source if of_row else None, [query])
    rows = found.to_pylist()
    items = data.items(index.source, [row["path"] for row in rows])
    results = [
        {"name": row["path"], "label": row.get("label"), "distance": f"{row['distance']:.3f}"} | thumbnail(item)
        for row, item in zip(rows, items, strict=True)
    ]
    return render(
        path, TEMPLATE, query={"name": query} | thumbnail(asked[0]), results=results, folder=index.folder,
        count=len(index), lost=index.source if any("image" not in result for result in results) else None,
    )  # fmt: skip


def thumbnail(item: Item | None) -> dict[str, Any]:
    """What a page shows of an item: a picture, if it is one that can be read; else nothing, and its name must do."""
    if item is None:
        return {}
    try:
        return cell(data.thumbnail(item, THUMBNAIL))
    except Unreadable:
        return {}
