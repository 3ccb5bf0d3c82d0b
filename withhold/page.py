"""Self-contained HTML pages with embedded images."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from withhold.console import counted
from withhold.files import MARK, writing

HERE = Path(__file__).parent
THUMBNAIL = 192
"""Pixels of an image's longer side on a page."""


def render(path: Path, template: Path, **values: Any) -> Path:
    """Render `template`, which may extend page.html.jinja, and write it to `path` atomically."""
    with writing(path) as partial:
        page = rendered(template, **values)
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")  # file names may not be valid UTF-8
    return path


def rendered(template: Path, **values: Any) -> str:
    """Render `template`, which may extend page.html.jinja."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters["counted"] = counted
    return environment.get_template(template.name).render(values, mark=MARK)


def stylesheet() -> str:
    """Return the stylesheet of all pages."""
    return (HERE / "page.css").read_text(encoding="utf-8")


def excerpt(text: str, length: int) -> str:
    """Return the beginning of a text in one line of up to `length` characters, cut between words if possible."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    end = line.rfind(" ", 0, length)
    return line[: end if end > 0 else length - 1] + "…"


def cell(image: Image.Image, frames: int = 1) -> dict[str, Any]:
    """Embed an image, or `frames` side by side; "crisp" is set for small images, whose pixels are shown as squares."""
    file, small = io.BytesIO(), image.copy()
    small.thumbnail((THUMBNAIL * frames, THUMBNAIL))
    small.save(file, format="PNG", optimize=True)
    source = Markup("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return {"image": source, "crisp": max(small.width / frames, small.height) <= 48, "strip": frames > 1}
