"""What is written appears whole or not at all, and what cannot be written is one sentence."""

import contextlib
import errno
import json
import os
from pathlib import Path

import pytest

from withhold.errors import UsageError, WithholdError
from withhold.files import prepare_folder, write_json, writing, writing_folder


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
        (tmp_path / "file", r"file is a file, and a folder is needed: name another --out\."),
        (tmp_path / "file" / "deep", r"deep cannot be made \(Not a directory\): name another --out\."),
        (Path("/proc/foo"), r"The folder /proc/foo cannot be made \(No such file or directory\): name another --out\."),
    ):
        with pytest.raises(UsageError, match=sentence):
            prepare_folder(folder)
        with pytest.raises(UsageError, match=sentence), writing(folder / "x.txt"):
            pass
    with pytest.raises(UsageError, match=r"is a folder, and a file is needed: name one in it\."), writing(tmp_path):
        pass
    with (
        pytest.raises(WithholdError, match=r"Could not write /proc/foo.png \(No such file or directory\): free"),
        writing(Path("/proc/foo.png")) as partial,
    ):
        partial.write_text("")
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(UsageError, match=r"is write-protected: name another --out\."):
        prepare_folder(tmp_path)


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "index"
    with writing_folder(path) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "x.txt").write_text("whole")
        assert not path.exists()
    assert (path / "deep" / "x.txt").read_text() == "whole"
    with pytest.raises(UsageError, match=r"index exists: name another --out, or delete it\."), writing_folder(path):
        pass
    with contextlib.suppress(KeyboardInterrupt), writing_folder(tmp_path / "a" / "other") as partial:
        (partial / "x.txt").write_text("half")
        raise KeyboardInterrupt
    with (
        pytest.raises(WithholdError, match=r"Could not write .*other \(No space left on device\): free some space"),
        writing_folder(tmp_path / "a" / "other"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["index"]


def test_of_two_who_make_the_same_folder_the_first_one_stays(tmp_path):
    first, second = writing_folder(tmp_path / "index"), writing_folder(tmp_path / "index")
    for one, text in ((first, "first"), (second, "second")):
        (one.__enter__() / "x.txt").write_text(text)
    first.__exit__(None, None, None)
    with pytest.raises(WithholdError, match=r"Could not write .*index \(Directory not empty\)"):
        second.__exit__(None, None, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["index"]
    assert (tmp_path / "index" / "x.txt").read_text() == "first"
