"""What a query found, as a page that shows it with the distances."""

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import torch
from markupsafe import Markup
from PIL import Image

from withhold import data, views
from withhold.data import texts
from withhold.data.kind import Item, Unreadable
from withhold.data.sounds import Sounds, decode
from withhold.data.stills import middle
from withhold.errors import WithholdError
from withhold.page import THUMBNAIL, cell, excerpt, render
from withhold.search.index import Index, about_of

TEMPLATE = Path(__file__).with_name("found.html.jinja")
LETTERS, SECONDS, BYTES = 150, 30, 300_000
"""How much of a text is shown, of a sound drawn, and how large a file may be to be heard."""


def write(
    path: Path, index: Index, query: str | Sequence[str], found: pyarrow.Table, *, asked: pyarrow.Table | None = None
) -> Path:
    """Write a page to `path` that shows the rows `found`, by `index.query`, under what was asked with.

    Items are looked for where the data were when they were embedded; of one that is not there stands the name.

    Args:
        query: the path of a row.
        asked: where it is no row, what `Run.embed` made of it; then `query` is a file, or a list of one text.
    """
    if asked is None:
        kind, (item,) = index.kind, data.items(index.source, [str(query)], index.kind)
    else:
        kind = about_of(asked.schema)["kind"]
        (item,) = data.items(query, asked["path"].to_pylist(), kind)
    rows = found.to_pylist()
    results = [
        {"name": row["path"], "label": row.get("label"), "distance": f"{row['distance']:.3f}"}
        | preview(item, index.kind)
        for row, item in zip(rows, data.items(index.source, found["path"].to_pylist(), index.kind), strict=True)
    ]
    name = query if isinstance(query, str) else excerpt(query[0], LETTERS)
    return render(
        path, TEMPLATE, query={"name": name} | preview(item, kind), results=results, folder=index.folder,
        count=len(index), kind=index.kind,
        lost=index.source if any(not {"image", "text"} & set(result) for result in results) else None,
    )  # fmt: skip


def beginnings(index: Index, found: pyarrow.Table) -> list[str]:
    """How the texts in the rows `found` begin; "" of one that is not there any more."""
    items = data.items(index.source, found["path"].to_pylist(), index.kind)
    return [preview(item, index.kind).get("text", "") for item in items]


def preview(item: Item | None, kind: str) -> dict[str, Any]:
    """What a page shows of an item of a kind; nothing, if it cannot be read, and its name must do.

    An image, the frame in the middle of a video, the spectrogram of a sound, and of a small file the sound itself; the
    beginning of a text.
    """
    if item is None:
        return {}
    try:
        if kind == "text":
            return {"text": excerpt(texts.read(item), LETTERS)}
        if kind == "audio":
            return cell(_spectrogram(item)) | _heard(item)
        return cell(data.thumbnail(item if kind == "image" else middle(item), THUMBNAIL))
    except (Unreadable, WithholdError):
        return {}


def _spectrogram(item: Item) -> Image.Image:
    """A sound, half a minute of it at most, in a picture of one size. Raises: Unreadable."""
    rate = min(Sounds().measure(item)["rate"], data.MOST_RATE)
    sound = views.to_float(torch.from_numpy(decode(item, rate)[None, : SECONDS * rate]))
    drawn = views.draw_log_mel(views.log_mel(sound, rate))[0, 0]
    return Image.fromarray(drawn.mul(255).byte().numpy()).resize((THUMBNAIL, THUMBNAIL // 2))


def _heard(item: Item) -> dict[str, Markup]:
    """A sound inside the page, if it is a file of its own, and a small one."""
    if not isinstance(item, str) or Path(item).stat().st_size > BYTES:
        return {}
    kind = mimetypes.guess_type(item)[0] or "application/octet-stream"
    return {"sound": Markup(f"data:{kind};base64," + base64.b64encode(Path(item).read_bytes()).decode())}
