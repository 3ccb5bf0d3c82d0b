"""The page of a query embeds its pictures, and shows names where there is no picture."""

import base64
import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image

from tests.data.recordings import tone, write_sound, write_video
from withhold import kinds, search
from withhold.cli import main
from withhold.data import media
from withhold.data.sounds import decode


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
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_the_page_shows_the_query_and_what_is_nearest(album, photos, tmp_path):
    page = search.write_page(tmp_path / "new" / "found.html", album, "0.png", album.query("0.png", 5))
    shown = pictures(page)
    assert len(shown) == 6
    assert all((image == photos[i]).all() for i, image in enumerate(shown))
    text = page.read_text(encoding="utf-8")
    assert [float(d) for d in re.findall(r"<p><b>([\d.]+)</b>", text)] == pytest.approx(
        [1 - np.cos(i / 10) for i in range(1, 6)], abs=6e-4
    )
    assert "cosine distances from 0 (same direction) to 2 (opposite)" in text
    assert "http" not in text.replace("http://www.w3.org", ""), "it needs nothing else"
    assert "any more" not in text
    page = search.write_page(tmp_path / "other.html", album, "3.png", album.query("3.png", 5))
    assert "&lt;b&gt;" in page.read_text(encoding="utf-8")
    assert "None" not in page.read_text(encoding="utf-8")


def test_what_order_and_distances_follow_is_said(album, tmp_path, capsys):
    for options, said in (
        ([], None),
        (["--diffuse"], "Results are ranked by diffusion on the graph of neighbours; distances are from"),
        (["--expand", "2"], "Distances are from the mean of the query and its 2 nearest."),
    ):  # fmt: skip
        page = tmp_path / f"found{len(options)}{said is None}{options[:1]}.html"
        assert main(["search", "query", str(tmp_path / "index"), "0.png", "--html", str(page), *options]) == 0
        for text in (capsys.readouterr().out, page.read_text(encoding="utf-8")):
            assert said in text if said else "istances are from" not in text


def test_a_file_that_is_no_row_is_shown(album, photos, tmp_path):
    Image.fromarray(photos[9]).save(tmp_path / "asked.jpg", quality=100)
    asked = pyarrow.table({"path": ["asked.jpg"], "embedding": [[1.0, 0.0]]})
    found = album.query(asked, 2)
    page = search.write_page(tmp_path / "found.html", album, str(tmp_path / "asked.jpg"), found, asked=asked)
    asked, *rest = pictures(page)
    assert np.abs(asked.astype(int) - photos[9]).mean() < 3
    assert len(rest) == 2


def test_names_stand_where_there_is_no_picture(album, tmp_path):
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").write_text("no image")
    page = search.write_page(tmp_path / "found.html", album, "0.png", album.query("0.png", 5))
    assert len(pictures(page)) == 4
    text = page.read_text(encoding="utf-8")
    assert '<span class="name">1.png</span>' in text
    assert '<span class="name">2.png</span>' in text
    assert text.count("2.png") == 1
    assert f"is not in {tmp_path} any more" in text


def test_nobody_knows_where_the_pictures_are(tmp_path):
    index = search.build(pyarrow.table({"path": ["x", "y"], "embedding": [[1.0], [2.0]]}), tmp_path / "index")
    page = search.write_page(tmp_path / "found.html", index, "x", index.query("x"))
    assert pictures(page) == []
    assert '<span class="name">y</span>' in page.read_text(encoding="utf-8")


# What is shown of items that are no images.


def shown(folder, kind, names, asked=None, **spans):
    """The page of a query by the first of `names` (or by `asked`, a source and its table) that finds the others."""
    angles = np.arange(len(names)) / 10
    about = {"withhold": json.dumps({"source": str(folder), "kind": kind})}
    table = pyarrow.table({"path": names, **spans, "embedding": list(np.stack([np.cos(angles), np.sin(angles)], 1))})
    with tempfile.TemporaryDirectory() as place:
        index = search.build(table.replace_schema_metadata(about), f"{place}/index")
        query, row = (names[0], None) if asked is None else (asked, None) if isinstance(asked, str) else asked
        found = index.query(query if row is None else row)
        return search.write_page(Path(place) / "found.html", index, query, found, asked=row).read_text("utf-8"), index


def test_a_video_shows_the_frame_in_its_middle(tmp_path):
    frames = np.stack([np.full((16, 24, 3), 10 * number, np.uint8) for number in range(20)])
    for number, name in enumerate(("a.mkv", "fight/b.mkv")):
        write_video(tmp_path / name, frames[:: number + 1], 10)
    page, _ = shown(tmp_path, "video", ["a.mkv", "fight/b.mkv"])
    assert [image[0, 0, 0] for image in pictures(page)] == [100, 100]
    assert "any more" not in page


def test_a_pair_shows_its_picture(tmp_path, photos):
    for name in "ab":
        Image.fromarray(photos[ord(name)]).save(tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text("image,sound\na.png,a.wav\nb.png,b.wav\n")
    page, _ = shown(tmp_path / "pairs.csv", "video + audio", ["a.png", "b.png"])
    assert all((image == photos[ord(name)]).all() for image, name in zip(pictures(page), "ab", strict=True))


def test_a_sound_is_drawn_and_a_small_file_is_heard(tmp_path):
    for name, seconds in (("short.wav", 0.5), ("long.wav", 4)):
        write_sound(tmp_path / name, tone(3000, seconds, 44100), 44100)
    page, _ = shown(tmp_path, "audio", ["short.wav", "long.wav"])
    for image in pictures(page):
        assert image.shape == (96, 192)
        assert 20 < image.mean(1).argmax() < 60, "a tone of 3 kHz of 8 lies in the middle of the mel scale"
    (heard,) = re.findall(r'<audio controls src="data:audio/x-wav;base64,([^"]+)">', page)
    assert base64.b64decode(heard) == (tmp_path / "short.wav").read_bytes()
    assert page.count("long.wav") == 3


def test_of_a_window_its_part_is_shown_and_heard(tmp_path):
    sound = np.concatenate([tone(hertz, 40, 8000) for hertz in (300, 3000)])
    write_sound(tmp_path / "a.wav", sound, 8000)
    spans = {"start": [2.0, 41.0, 70.0], "end": [4.0, 43.0, 72.0]}
    page, _ = shown(tmp_path, "audio", ["a.wav"] * 3, "a.wav#3", **spans)
    low, *high = (image.astype(int).mean(1).argmax() for image in pictures(page))
    assert low > 70
    assert all(row < 40 for row in high), "high tones lie above"
    assert re.findall(r'title="(.*?)"', page) == ["a.wav 0:41.0-0:43.0", "a.wav 1:10.0-1:12.0"]
    assert "<h1>Nearest to a.wav 0:02.0-0:04.0</h1>" in page
    heard = [decode(base64.b64decode(file), 8000) for file in re.findall(r'src="data:audio/x-wav;base64,(.*?)"', page)]
    assert [len(part) for part in heard] == [16_000] * 3
    assert (heard[1] == decode(str(tmp_path / "a.wav"), 8000)[41 * 8000 : 43 * 8000]).all()


def test_of_a_window_of_a_video_the_frame_in_its_middle_is_shown(tmp_path):
    frames = np.stack([np.full((16, 24, 3), 10 * number, np.uint8) for number in range(20)])
    write_video(tmp_path / "a.mkv", frames, 10)
    for number, frame in enumerate(frames):
        (tmp_path / "b").mkdir(exist_ok=True)
        Image.fromarray(frame).save(tmp_path / "b" / f"{number:02d}.png")
    spans = {"start": [0.0, 1.0], "end": [0.4, 1.4]}
    page, _ = shown(tmp_path / "a.mkv", "video", ["a.mkv"] * 2, "a.mkv#0.1", **spans)
    assert [image[0, 0, 0] for image in pictures(page)] == [20, 120]
    item = [str(tmp_path / "b" / f"{number:02d}.png") for number in range(20)]
    assert [
        image[0, 0, 0]
        for image in pictures(
            "".join(f'<img src="{kinds.of("video").preview(item, span)["image"]}"' for span in ((0, 0.4), (0, 9)))
        )
    ] == [40, 190]  # 24 a second; the last one


def test_of_a_window_of_a_text_the_tokens_are_said(tmp_path):
    (tmp_path / "a.txt").write_text("a long story")
    page, index = shown(tmp_path / "a.txt", "text", ["0"] * 2, "0#1", start=[0.0, 64.0], end=[64.0, 128.0])
    assert 'title="0 tokens 64-128"' in page
    assert search.times(index, pyarrow.table({"start": [64.0], "end": [96.0]})) == ["tokens 64-96"]


def test_a_text_shows_its_beginning(tmp_path):
    texts = ["a <b> bold\nclaim", "word " * 60, "長" * 200]
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    page, index = shown(tmp_path / "list.jsonl", "text", ["0", "1", "2"])
    assert '<span class="text">a &lt;b&gt; bold claim</span>' in page
    assert "word " * 29 + "word…" in page
    assert "長" * 149 + "…" in page
    rows = pyarrow.table({"path": ["2", "0", "gone"]})
    assert search.beginnings(index, rows) == ["長" * 149 + "…", "a <b> bold claim", ""]


def test_a_query_may_be_of_another_kind_or_a_text(tmp_path, photos):
    write_sound(tmp_path / "a.wav", tone(300, 0.5, 8000), 8000)
    Image.fromarray(photos[0]).save(tmp_path / "asked.png")
    row = pyarrow.table({"path": ["asked.png"], "embedding": [[1.0, 0.0]]})
    asked = row.replace_schema_metadata({"withhold": '{"kind": "image"}'})
    page, _ = shown(tmp_path, "audio", ["a.wav"], (str(tmp_path / "asked.png"), asked))
    first, second = pictures(page)
    assert (first == photos[0]).all()
    assert second.shape == (96, 192)

    (tmp_path / "a.txt").write_text("what is found")
    row = pyarrow.table({"path": ["0"], "embedding": [[1.0, 0.0]]})
    asked = row.replace_schema_metadata({"withhold": '{"kind": "text"}'})
    page, _ = shown(tmp_path / "a.txt", "text", ["0"], (["what is asked"], asked))
    assert re.findall(r'class="text">(.*?)<', page) == ["what is asked", "what is found"]
    assert "<h1>Nearest to what is asked</h1>" in page


def test_a_picture_that_cannot_be_read_now_is_left_out(photos, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise PermissionError(13, "Permission denied")

    Image.fromarray(photos[0]).save(tmp_path / "a.png")
    assert "image" in kinds.of("image").preview(str(tmp_path / "a.png"))
    monkeypatch.setattr(media, "open", fail, raising=False)
    assert kinds.of("image").preview(str(tmp_path / "a.png")) == {}
