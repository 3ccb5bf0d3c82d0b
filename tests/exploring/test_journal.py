"""Every label is written at once, and survives a crash."""

import csv
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from withhold.errors import UsageError
from withhold.exploring.journal import Journal

NAMES = ["a/1.jpg", "a/2.jpg", 'odd "name",\r\n\r3.jpg', "naïve\udcff.jpg"]


def rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_each_label_is_a_row_and_the_last_one_counts(tmp_path):
    journal = Journal(tmp_path / "labels.csv", NAMES)
    journal.write([0, 2], ["cat", "dog"])
    journal.write([0], ["dog"])
    journal.write([2], [""])
    found = rows(journal.path)
    assert found[0] == ["path", "label", "time"]
    assert [row[:2] for row in found[1:]] == [[NAMES[0], "cat"], [NAMES[2], "dog"], [NAMES[0], "dog"], [NAMES[2], ""]]
    assert journal.labels.tolist() == [1, -1, -1, -1] and journal.counts == [0, 1] and len(journal) == 1
    assert journal.known() == [(NAMES[0], "dog")]


def test_opened_again_it_knows_what_was_given(tmp_path):
    path = tmp_path / "labels.csv"
    Journal(path, NAMES).write(range(4), ["x", "y", " x ", "z"])
    again = Journal(path, [NAMES[3], NAMES[2], "new.jpg"])
    assert again.classes == ["x", "z"]
    assert again.labels.tolist() == [1, 0, -1]
    again.write([2], ["y"])
    assert len(rows(path)) == 6  # what belongs to other items stays
    path.read_text(encoding="utf-8")  # as labels of a training are read


@pytest.mark.parametrize("lost", range(1, 45))
def test_what_a_kill_left_half_written_is_dropped_and_nothing_else(tmp_path, lost):
    path = tmp_path / "labels.csv"
    journal = Journal(path, NAMES)
    journal.write([0], ["cat"])
    whole = path.stat().st_size
    journal.write([2], ["dog"])
    content = path.read_bytes()
    path.write_bytes(content[: max(whole, len(content) - lost)])
    again = Journal(path, NAMES)
    kept = [(NAMES[0], "cat")] + [(NAMES[2], "dog")] * (lost == 1)  # only the end of the line is missing
    assert again.known() == kept
    assert path.with_name("labels.csv.bak").exists() == (1 < lost < len(content) - whole)
    again.write([1], ["dog"])
    assert Journal(path, NAMES).known() == sorted([*kept, (NAMES[1], "dog")], key=lambda row: NAMES.index(row[0]))


def test_rows_of_an_editor_count_and_others_are_kept_beside(tmp_path, caplog):
    path, name = tmp_path / "labels.csv", NAMES[0]
    path.write_text(f"path,label,time\n{name},cat,2026-11-29T15:29:45+00:00\n\n{NAMES[1]},dog\nodd\n")
    journal = Journal(path, NAMES)
    assert journal.known() == [(name, "cat"), (NAMES[1], "dog")]
    assert [row[:2] for row in rows(path)[1:]] == [[name, "cat"], [NAMES[1], "dog"]]
    assert "1 row of" in caplog.text
    assert "odd" in path.with_name("labels.csv.bak").read_text()
    path.write_text(f"path,label,time\n{name},cat,2026-11-29T15:29:45+00:00\nstrange\n")
    Journal(path, NAMES)
    assert "strange" in path.with_name("labels.csv.bak2").read_text()
    assert "odd" in path.with_name("labels.csv.bak").read_text()


def test_a_header_without_a_newline_stays_one(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("path,label,time")
    Journal(path, NAMES).write([0], ["cat"])
    path.write_text(path.read_text() + f"{NAMES[1]}, cat ,2026-11-29T15:29:45+00:00,,\n")
    assert Journal(path, NAMES).known() == [(NAMES[0], "cat"), (NAMES[1], "cat")]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    journal, write, left = Journal(tmp_path / "labels.csv", NAMES), os.write, [9]

    def full(handle, text):
        if not left:
            raise OSError("No space left on device")
        return write(handle, text[: left.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.write([0], ["cat"])
    monkeypatch.undo()
    assert not len(journal)
    journal.write([1], ["dog"])
    assert Journal(journal.path, NAMES).known() == [(NAMES[1], "dog")]


WRITER = """
import sys
from pathlib import Path
from withhold.exploring.journal import Journal
journal = Journal(Path(sys.argv[1]), [str(i) for i in range(1000)])
for item in range(1000):
    journal.write([item], ["cat" if item % 2 else "dog"])
    print(item, flush=True)
"""


def test_a_label_that_was_answered_survives_a_kill(tmp_path):
    path = tmp_path / "labels.csv"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(20):
        answered = int(writer.stdout.readline())
    writer.kill()
    writer.wait()
    journal = Journal(path, [str(i) for i in range(1000)])
    assert (journal.labels[: answered + 1] >= 0).all()
    assert journal.known() == [(str(i), "cat" if i % 2 else "dog") for i in np.flatnonzero(journal.labels >= 0)]


def test_writes_of_several_threads_do_not_mix(tmp_path):
    journal = Journal(tmp_path / "labels.csv", [f"item {i}" for i in range(80)])
    lock = threading.Lock()

    def give(start):
        for item in range(start, 80, 4):
            with lock:
                journal.write([item], [f"class {start}"])

    threads = [threading.Thread(target=give, args=(start,)) for start in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(Journal(journal.path, journal.names).counts) == [20, 20, 20, 20]


@pytest.mark.parametrize(
    ("items", "labels"), [([4], ["x"]), ([-1], ["x"]), ([0, 1], ["x"]), ([0], ["x" * 201]), ([0], ["a\nb"])]
)
def test_what_makes_no_sense_is_refused_and_nothing_of_it_written(tmp_path, items, labels):
    journal = Journal(tmp_path / "labels.csv", NAMES)
    with pytest.raises(UsageError):
        journal.write(items, labels)
    assert len(rows(journal.path)) == 1 and not len(journal)


def test_another_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("name;class\n1;2\n")
    with pytest.raises(UsageError, match="not a file of labels"):
        Journal(path, NAMES)
    assert path.read_text() == "name;class\n1;2\n"


def test_a_disk_that_takes_a_part_at_a_time_gets_every_row(tmp_path, monkeypatch):
    journal, write = Journal(tmp_path / "labels.csv", NAMES), os.write
    monkeypatch.setattr(os, "write", lambda handle, text: write(handle, text[:5]))
    journal.write([0, 1], ["cat", "dog"])
    monkeypatch.undo()
    assert [row[:2] for row in rows(journal.path)[1:]] == [[NAMES[0], "cat"], [NAMES[1], "dog"]]


def test_a_label_is_written_within_fifty_milliseconds(tmp_path):
    journal = Journal(tmp_path / "labels.csv", [f"{i}.jpg" for i in range(100_000)])
    taken = []
    for item in range(20):
        began = time.perf_counter()
        journal.write([item], ["cat"])
        taken.append(time.perf_counter() - began)
    assert np.median(taken) < 0.05
