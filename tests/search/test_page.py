"""The page of a query has the pictures inside it, and names where there is none."""

import base64
import io
import re

import numpy as np
import pyarrow
import pytest
from PIL import Image

from withhold import search


@pytest.fixture
def album(tmp_path, photos):
    """Six photos in a folder and an index of them; the vectors are angles, so that each is next to its number."""
    for i in range(6):
        Image.fromarray(photos[i]).save(tmp_path / f"{i}.png")
    angles = np.arange(6) / 10
    columns = {
        "path": [f"{i}.png" for i in range(6)], "label": ["<b>", *"abcd", None],
        "embedding": list(np.stack([np.cos(angles), np.sin(angles)], 1)),
    }  # fmt: skip
    table = pyarrow.table(columns).replace_schema_metadata({"withhold": f'{{"source": "{tmp_path}"}}'})
    return search.build(table, tmp_path / "index")


def pictures(page):
    """The images inside a page, in order."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page.read_text(encoding="utf-8"))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_the_page_shows_the_query_and_what_is_nearest(album, photos, tmp_path):
    page = search.write_page(tmp_path / "new" / "found.html", album, "0.png", album.query("0.png", 5), of_row=True)
    shown = pictures(page)
    assert len(shown) == 6
    assert all((image == photos[i]).all() for i, image in enumerate(shown))
    text = page.read_text(encoding="utf-8")
    assert [float(d) for d in re.findall(r"<p><b>([\d.]+)</b>", text)] == pytest.approx(
        [1 - np.cos(i / 10) for i in range(1, 6)], abs=6e-4
    )
    assert "0 is the same direction, 1 a right angle, 2 the opposite one" in text
    assert "http" not in text.replace("http://www.w3.org", ""), "it needs nothing else"
    assert "any more" not in text
    page = search.write_page(tmp_path / "other.html", album, "3.png", album.query("3.png", 5), of_row=True)
    assert "&lt;b&gt;" in page.read_text(encoding="utf-8")
    assert "None" not in page.read_text(encoding="utf-8")


def test_a_file_that_is_no_row_is_shown(album, photos, tmp_path):
    Image.fromarray(photos[9]).save(tmp_path / "asked.jpg", quality=100)
    found = album.query(np.array([1.0, 0]), 2)
    page = search.write_page(tmp_path / "found.html", album, str(tmp_path / "asked.jpg"), found, of_row=False)
    asked, *rest = pictures(page)
    assert np.abs(asked.astype(int) - photos[9]).mean() < 3
    assert len(rest) == 2


def test_names_stand_where_there_is_no_picture(album, tmp_path):
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").write_text("no image")
    page = search.write_page(tmp_path / "found.html", album, "0.png", album.query("0.png", 5), of_row=True)
    assert len(pictures(page)) == 4
    text = page.read_text(encoding="utf-8")
    assert '<span class="name">1.png</span>' in text
    assert '<span class="name">2.png</span>' in text
    assert f"is not in {tmp_path} any more" in text


def test_nobody_knows_where_the_pictures_are(tmp_path):
    index = search.build(pyarrow.table({"path": ["x", "y"], "embedding": [[1.0], [2.0]]}), tmp_path / "index")
    page = search.write_page(tmp_path / "found.html", index, "x", index.query("x"), of_row=True)
    assert pictures(page) == []
    assert '<span class="name">y</span>' in page.read_text(encoding="utf-8")
