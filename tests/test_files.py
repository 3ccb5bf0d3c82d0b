"""Files are written completely or not at all, and write errors are reported in one sentence."""

import contextlib
import csv
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from withhold.errors import UsageError, WithholdError
from withhold.files import MARK, claiming, filling, prepare_folder, write_csv, write_json, writing, writing_folder


def test_a_file_and_its_folders_appear_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "b" / "x.txt"
    with writing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    with contextlib.suppress(KeyboardInterrupt), writing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.txt"]


def test_json_holds_names_of_any_bytes(tmp_path):
    write_json(tmp_path / "x.json", {"name": "日本\udce9"})
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == {"name": "日本\udce9"}
    assert "日本" in (tmp_path / "x.json").read_text("utf-8")


def test_places_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for folder, sentence in (
        (tmp_path / "file", r"file is a file, but must be a folder\. Choose another --out\."),
        (tmp_path / "file" / "deep", r"deep cannot be made \(Not a directory\)\. Choose another --out\."),
        (
            Path("/proc/foo"),
            r"The folder /proc/foo cannot be made \(No such file or directory\)\. Choose another --out\.",
        ),
    ):
        with pytest.raises(UsageError, match=sentence):
            prepare_folder(folder)
        with pytest.raises(UsageError, match=sentence), writing(folder / "x.txt"):
            pass
    with (
        pytest.raises(UsageError, match=r"is a folder, but must be a file\. Give the path of a file\."),
        writing(tmp_path),
    ):
        pass
    with (
        pytest.raises(WithholdError, match=r"Could not write /proc/foo.png \(No such file or directory\)\. Free"),
        writing(Path("/proc/foo.png")) as partial,
    ):
        partial.write_text("")
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(UsageError, match=r"is write-protected\. Choose another --out\."):
        prepare_folder(tmp_path)


def write(path, *inputs, text="new"):
    """As every verb writes a file that a person named."""
    with claiming(path, ".csv .txt", *inputs), writing(path) as partial:
        partial.write_text(f"{MARK}, {text}")


def test_what_this_program_made_is_replaced_and_nothing_else(tmp_path):
    for place in ("new/deep/x.txt", "x.csv"):
        write(tmp_path / place, text="old")
        write(tmp_path / place)
        assert (tmp_path / place).read_text() == f"{MARK}, new"
    (tmp_path / "long.txt").write_text(" " * 2**17 + MARK)
    write(tmp_path / "long.txt")
    (tmp_path / "own.txt").write_text("mine")
    (tmp_path / "link.txt").symlink_to(tmp_path / "x.csv")
    os.mkfifo(tmp_path / "fifo.txt")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(tmp_path / "socket.txt"))
    (tmp_path / "same.txt").hardlink_to(tmp_path / "x.csv")
    (tmp_path / "folder.txt").mkdir()
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    for name, sentence in {
        "own.txt": r"own\.txt already exists and was not made by withhold\. Choose another file, or delete it\.",
        "link.txt": r"link\.txt is not a regular file\. Choose another file\.",
        "fifo.txt": "is not a regular file", "socket.txt": "is not a regular file",
        "same.txt": r"same\.txt is both an input and the output\. Choose another output file\.",
        "folder.txt": "is a folder, but must be a file",
        "x.xyz": r"x\.xyz must end in \.csv or \.txt\. Choose another file name\.",
    }.items():  # fmt: skip
        with pytest.raises(UsageError, match=sentence):
            write(tmp_path / name, "digits", tmp_path, None, [1, 2], str(tmp_path / "x.csv"))
    assert {path: path.lstat() for path in tmp_path.iterdir()} == before


def test_a_device_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "null.txt"
    path.write_text(MARK)
    about = os.stat_result((stat.S_IFCHR | 0o666, *path.lstat()[1:]))
    monkeypatch.setattr(Path, "lstat", lambda self: about)
    with pytest.raises(UsageError, match=r"null\.txt is not a regular file\. Choose another file\."):
        write(path)
    assert path.read_text() == MARK


@pytest.mark.parametrize(
    "hold", [lambda path: claiming(path, ".txt"), writing_folder, lambda path: filling(path, lambda: False)]
)
def test_what_another_process_writes_is_not_written(tmp_path, hold):
    path = tmp_path / "new" / "x.txt"
    with (
        hold(path),
        pytest.raises(WithholdError, match=r"Another process is writing .*x\.txt\. Wait until it is"),
    ):
        hold(path).__enter__()
    assert [entry for entry in path.parent.rglob("*") if entry.is_file()] == []


def test_a_dead_process_holds_nothing(tmp_path):
    held = f"with claiming(pathlib.Path({str(tmp_path / 'x.txt')!r}), '.txt'): os.kill(os.getpid(), 9)"
    script = f"import os, pathlib\nfrom withhold.files import claiming\n{held}"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".x.txt.lock"]
    write(tmp_path / "x.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_folder_that_was_not_begun_is_as_it_was(tmp_path):
    new, empty, other = tmp_path / "new" / "deep", tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    (other / "x.txt").write_text("mine")
    for folder in (new, empty):
        with contextlib.suppress(KeyboardInterrupt), filling(folder, lambda: False):
            (folder / "checkpoints").mkdir()
            (folder / "tokenizer.json").touch()
            raise KeyboardInterrupt
    with pytest.raises(UsageError, match=r"other is not empty \(it holds x\.txt\)\. Choose another --out, or delete"):
        filling(other, lambda: False).__enter__()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "empty", "other", "other/x.txt"
    ]  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt), filling(new, (new / "begun").exists):
        (new / "begun").touch()
        raise KeyboardInterrupt
    assert [path.name for path in new.iterdir()] == ["begun"]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "index"
    with writing_folder(path) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "x.txt").write_text("whole")
        assert not path.exists()
    assert (path / "deep" / "x.txt").read_text() == "whole"
    with (
        pytest.raises(UsageError, match=r"index already exists\. Choose another --out, or delete it\."),
        writing_folder(path),
    ):
        pass
    with contextlib.suppress(KeyboardInterrupt), writing_folder(tmp_path / "a" / "other") as partial:
        (partial / "x.txt").write_text("half")
        raise KeyboardInterrupt
    with (
        pytest.raises(WithholdError, match=r"Could not write .*other \(No space left on device\)\. Free some space"),
        writing_folder(tmp_path / "a" / "other"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["index"]


def test_of_two_who_make_the_same_folder_the_first_one_stays(tmp_path):
    with writing_folder(tmp_path / "index") as partial:
        (partial / "x.txt").write_text("first")
        with (
            pytest.raises(WithholdError, match=r"Another process is writing .*index\. Wait"),
            writing_folder(tmp_path / "index"),
        ):
            pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["index"]
    assert (tmp_path / "index" / "x.txt").read_text() == "first"


def test_cells_with_line_breaks_are_read_as_they_were_written(tmp_path):
    rows = [["a\rb.png", "x"], ["\n", '"'], ["c,d", "1"]]
    write_csv(tmp_path / "x.csv", ["path", "label"], rows)
    with open(tmp_path / "x.csv", newline="") as file:
        assert list(csv.reader(file)) == [["path", "label"], *rows]
    assert (tmp_path / "x.csv").read_bytes().endswith(b'"c,d",1\n')
