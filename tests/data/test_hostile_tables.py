"""Common and malformed tables are read correctly, or refused in one sentence that names the line."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

from withhold import data
from withhold.data import manifests, sources
from withhold.data.kind import Unreadable
from withhold.data.labels import number
from withhold.data.texts import Texts, read
from withhold.errors import UsageError, WithholdError

PLAIN = "path,label\na.png,cat\nb.png,dog\n"
ROWS = [{"path": "a.png", "label": "cat"}, {"path": "b.png", "label": "dog"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
LONG = "the film was good " * 7500

GOOD = {
    "plain.csv": PLAIN,
    "semicolons.csv": PLAIN.replace(",", ";"),
    "pipes.CSV": PLAIN.replace(",", "|"),
    "tabs.csv": PLAIN.replace(",", "\t"),
    "tabs.tsv": PLAIN.replace(",", "\t"),
    "blanks.csv": " Path , LABEL \na.png , cat\n\n b.png,dog \n\n",
    "windows.csv": b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(),
    "old_mac.csv": PLAIN.replace("\n", "\r"),
    "wide.csv": PLAIN.encode("utf-16"),
    "wide_tabs.tsv": b"\xfe\xff" + PLAIN.replace(",", "\t").encode("utf-16-be"),
    "packed.csv.gz": gzip.compress(PLAIN.encode()),
    "packed.jsonl.gz": gzip.compress(LINES.encode()),
    "index.csv": ",path,label\n0,a.png,cat\n1,b.png,dog\n",
    "quoted.csv": 'path,note,label\n"a.png","of ""Tom"",\nmine",cat\nb.png,,dog\n',
    "backslashes.csv": "path,label\n.\\a.png,cat\n.\\b.png,dog\n",
    "long.csv": f"path,note,label\na.png,{LONG},cat\nb.png,,dog\n",
    "lines.jsonl": LINES,
    "late.jsonl": '{"id": 1, "path": "a.png", "label": "cat"}\n{"Label": "dog", "path": "b.png", "note": "\u2028"}',
    "list.json": json.dumps(ROWS, indent=1),
    "lines.json": LINES,
}


@pytest.fixture
def folder(tmp_path):
    for row, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (32, 32), (row * 100, 0, 0)).save(tmp_path / name)
    return tmp_path


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", GOOD)
def test_a_table_of_any_form_is_read(folder, name):
    samples = data.load(write(folder / name, GOOD[name]))
    assert [samples.classes[label] for label in samples.labels] == ["cat", "dog"]
    assert samples.array[1, 0, 0].tolist() == [100, 0, 0]
    assert [path.removeprefix("./") for path in samples.names] == ["a.png", "b.png"]
    assert data.load(folder, labels=folder / name).labels.tolist() == [0, 1]


BAD = {
    "more.csv": ("path,label\na.png,cat\nb.png,dog,extra\n", "csv: line 3 has 3 cells, but the heading has 2"),
    "fewer.csv": ("path,label\na.png\n", "csv: line 2 has 1 cells, but the heading has 2"),
    "after_text.csv": ('path,label\n"a\n\n.png",cat\nb.png\n', "csv: line 5 has 1 cells"),
    "unclosed.csv": ('path,label\n"a.png,cat\n', "csv: line 2: unexpected end of data"),
    "twice.csv": ("path,Label, label\na.png,1,2\n", r"csv: two of its columns have the same name \(path, Label, label"),
    "latin.csv": ("path,label\na.png,chât\n".encode("latin-1"), "csv: not UTF-8 text; save it as UTF-8"),
    "torn.csv.gz": (gzip.compress(PLAIN.encode() * 99)[:40], "csv: Compressed file ended"),
    "empty.csv": ("", "empty.csv lists no image"),
    "heading.tsv": ("path\tlabel\n", "heading.tsv lists no image"),
    "odd.csv": ("colour;size\nred;3\n", r"has no column of images \(it has colour, size\)\. Name it one of image, img"),
    "torn.jsonl": ('{"path": "a.png"}\n{"path": \n', "jsonl: line 2: Expecting value; give one object per line"),
    "numbers.jsonl": ("1\n2\n", "jsonl: row 1 is not an object, such as"),
    "deep.json": ("[" * 100_000, "json: maximum recursion depth"),
    "columns.json": (json.dumps({"path": ["a.png"]}, indent=1), "json: line 1: Expecting property name"),
    "many.jsonl": ('{"path": "a.png", "label": ["x", "y"]}', r"The label \['x', 'y'\] is not a text or number"),
    "torn.parquet": (b"PAR1 nothing", "torn.parquet cannot be read as parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_read_is_refused_in_one_sentence(folder, name):
    content, sentence = BAD[name]
    with pytest.raises(WithholdError, match=sentence) as caught:
        data.load(write(folder / name, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["nul\0.png", "half\ud83d.png", "x" * 5000, "", "  ", "../..", "http://x/y.png"])
def test_a_path_that_cannot_be_is_skipped_and_listed(folder, path):
    rows = [{"path": path, "label": "x"}, *ROWS]
    samples = data.load(write(folder / "list.jsonl", "\n".join(map(json.dumps, rows))))
    assert len(samples) == 2
    assert len(samples.skipped) == 1


def test_the_first_line_may_lack_what_others_have(folder):
    samples = data.load(write(folder / "t.jsonl", '{"path": "a.png"}\n{"path": "b.png", "label": "dog"}\n'))
    assert samples.classes == ("dog",)
    assert samples.labels.tolist() == [-1, 0]


def test_a_cell_may_hold_a_whole_document(folder):
    path = write(folder / "long.csv", f'text,label\n"{LONG}",pos\nthe cast was fine,neg\n')
    assert manifests.read(path) == {"text": [LONG, "the cast was fine"], "label": ["pos", "neg"]}


def test_half_an_emoji_becomes_a_question_mark(folder):
    path = write(folder / "cut.jsonl", '{"text": "the film\\ud83d was good"}')
    (table,) = sources.tables(path, Texts).values()
    assert read(table.items([0])[0]) == "the film? was good"


def test_what_unpacks_to_too_much_is_refused(folder, monkeypatch):
    monkeypatch.setattr(manifests, "MOST_BYTES", 2**20)
    content = gzip.compress(bytes(2**21))
    with pytest.raises(WithholdError, match="when unpacked; split it into parts"):
        data.load(write(folder / "bomb.csv.gz", content))
    with pytest.raises(Unreadable, match="when unpacked; split it into parts"):
        read(content)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "hub"])
def test_every_column_stays_in_reach(tmp_path, form):
    import pyarrow
    from pyarrow import parquet

    values = {"text": ["one", "two"], "Translation": ["eins", "zwei"], "year": ["1999", "0042"]}
    path = tmp_path / f"t.{form}"
    if form == "csv":
        write(path, "text, Translation ,year\none,eins,1999\ntwo,zwei,0042\n")
    elif form == "jsonl":
        write(
            path,
            "\n".join(json.dumps(dict(zip(values, row, strict=True))) for row in zip(*values.values(), strict=True)),
        )
    elif form == "parquet":
        parquet.write_table(pyarrow.table(values), path, row_group_size=1)
    else:
        import datasets

        path = datasets.Dataset.from_dict(values)
    (table,) = sources.tables(path, Texts).values()
    assert table.columns == list(values)
    assert table.column("translation") == ["eins", "zwei"]
    assert table.column(" YEAR") == ["1999", "0042"]
    assert table.items([1, 0]) == ["two", "one"]
    with pytest.raises(UsageError, match="There is no column 'mask'"):
        table.column("mask")


def test_columns_hold_what_they_held(tmp_path):
    """Boxes and gaps, not their text."""
    path = write(tmp_path / "t.jsonl", '{"path": "a.png", "boxes": [[0, 1.5, 2, 3]]}\n{"path": "b.png", "age": 3}')
    (table,) = sources.tables(path).values()
    assert table.column("boxes") == [[[0, 1.5, 2, 3]], None]
    assert table.column("age") == [None, 3]


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        (["01", "1", "007", "7"], ("007", "01", "1", "7"), [1, 2, 0, 3]),
        (["-1", "1", "-1"], ("-1", "1"), [0, 1, 0]),
        (["-1.0", "0.0", "1.0", ""], ("-1.0", "0.0", "1.0"), [0, 1, 2, -1]),
        ([1.0, 0.0, float("nan"), 10.0, 2.0], ("0.0", "1.0", "2.0", "10.0"), [1, 0, -1, 3, 2]),
        (["1.0", "nan", "0.0"], ("0.0", "1.0"), [1, -1, 0]),
        (["pita", "nan", "lavash"], ("lavash", "nan", "pita"), [2, 1, 0]),
        (["None", "N/A", None, " "], ("N/A", "None"), [1, 0, -1, -1]),
        (list(range(9009, 8999, -1)), tuple(map(str, range(9000, 9010))), list(range(9, -1, -1))),
        (["10", "9", "8a"], ("10", "8a", "9"), [0, 2, 1]),
        (["1.10", "1.9", "1.1"], ("1.1", "1.10", "1.9"), [1, 2, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        ([None, "", None], (), [-1, -1, -1]),
    ],
)
def test_every_text_is_a_class_of_its_own(values, classes, labels):
    (numbers,), names = number([values])
    assert names == classes
    assert numbers.tolist() == labels
    assert numbers.dtype == np.int64


def test_a_column_of_floats_and_one_of_whole_numbers_mean_the_same(folder):
    """Pandas writes 0 and 1 as 0.0 and 1.0 where a label is missing."""
    write(folder / "train.csv", "path,label\na.png,1.0\nb.png,0.0\n")
    write(folder / "test.csv", "path,label\nb.png,0\na.png,\n")
    (folder / "set").mkdir()
    for name in ("train.csv", "test.csv"):
        (folder / "set" / name).write_text((folder / name).read_text().replace("\n", "\n../").removesuffix("../"))
    parts = data.splits(folder / "set")
    train, test = (data.load(part) for part in parts.values())
    assert train.classes == test.classes == ("0.0", "1.0")
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 0], [0, -1])


def test_names_of_classes_and_numbers_beyond_them(tmp_path):
    assert number([[2, None, -1, 0]], ("a", "b", "c"))[0][0].tolist() == [2, -1, -1, 0]
    with pytest.raises(WithholdError, match="A label is 3, but only 3 classes have names"):
        number([[0], [3]], ("a", "b", "c"))
