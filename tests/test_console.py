"""Progress and status messages."""

import io
import logging
import re
import sys
import time
from pathlib import Path

import pytest

from withhold import console


def test_without_a_terminal_a_line_comes_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    told = console.Progress(silent=False)
    for step in range(1, 41):
        now[0] = step
        told({"step": step, "seconds": 3 * step, "loss": 1 / step, "lr": 0.1, "items_per_second": 50.2}, 40)
    told.close()
    said = capsys.readouterr()
    left = {10: "1 min 30 s", 20: "1 min", 30: "30 s", 40: "0 s"}
    assert said.err.splitlines() == [
        f"step {step}/40  loss {1 / step:.3g}  50 items/s  {time} left" for step, time in left.items()
    ]
    assert said.out == ""


def test_machines_are_not_told(capsys):
    console.Progress(silent=True)({"step": 40, "seconds": 3.0, "loss": 1.0, "items_per_second": 50.0}, 40)
    assert capsys.readouterr().err == ""


def test_a_terminal_is_never_silent(monkeypatch):
    """From the start it shows the time that has passed; what is said meanwhile has a line of its own."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(terminal)])
    told = console.Progress(silent=False)
    assert "starting  00:00" in terminal.getvalue()
    time.sleep(1.5)
    assert "starting  00:01" in terminal.getvalue()
    logging.getLogger("withhold").warning("a word")
    assert "\ra word\n" in re.sub(" +", " ", terminal.getvalue()).replace("\r \r", "\r")
    told({"step": 10, "seconds": 20.0, "loss": 0.5, "items_per_second": 50.0}, 40)
    told.close()
    assert re.search(r"step 10/40 \|#+ +\| 00:01, loss 0.5  50 items/s  1 min left", terminal.getvalue())
    written = terminal.getvalue()
    time.sleep(1.1)
    assert terminal.getvalue() == written


def test_what_is_next_can_be_pasted_into_a_shell(capsys):
    console.advise(["evaluate", Path("runs/my photos"), "DATA"], ["embed", "a;b", "freeze=all"])
    said = capsys.readouterr().out
    assert said == "Next: withhold evaluate 'runs/my photos' DATA   or   withhold embed 'a;b' freeze=all\n"


def test_durations_are_words():
    said = [console.duration(s) for s in (0.4, 59, 600, 200.2, 3900)]
    assert said == ["0 s", "59 s", "10 min", "3 min 20 s", "1 h 5 min"]


@pytest.mark.parametrize(("count", "said"), [(0, "0 steps"), (1, "1 step"), (1.0, "1 step"), (1200, "1,200 steps")])
def test_a_noun_agrees_with_its_number(count, said):
    assert console.counted(count, "step") == said


def test_a_table_breaks_sentences_not_names(capsys):
    console.print_table(
        ["method", "about", "value"], [["denoising_autoencoder", "word " * 60, "0.512"], ["moco", "short", ""]]
    )
    lines = capsys.readouterr().out.splitlines()
    assert any("denoising_autoencoder" in line and "0.512" in line for line in lines)
    assert max(map(len, lines)) <= 160


WILD = "cat [red]:smile:\x1b[31m\r\n\u202e\u2028\x9b\udce9.png"
TAME = "cat [red]:smile:\\x1b[31m\\r\\n\\u202e\\u2028\\x9b\\udce9.png"


def test_names_from_data_command_no_terminal_and_are_no_markup(capsys):
    console.print_table(["path", "[b]label"], [[WILD, "[/]"]])
    console.say(WILD)
    header, row, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["path", "[b]label"]
    assert row.split("  ")[0] == line == TAME
    assert row.split()[-1] == "[/]"
    console.Progress(silent=False)({"step": 1, f"{WILD}loss": 1.0, "items_per_second": 1.0, "seconds": 1.0}, 1)
    assert TAME in capsys.readouterr().err


@pytest.mark.parametrize("text", ["日本 café\u0301 हिन्दी", "می\u200cخواهم", "👩\u200d🚀\ufe0f", "a\u00a0b \\n [x]"])
def test_what_only_writes_is_printed_as_it_is(text):
    assert console.printable(text) == text


def test_what_is_said_again_is_said_once(caplog):
    log = logging.getLogger("withhold")
    with console.once():
        for word in ("three are left out", "two are left out", "three are left out"):
            log.warning(word)
    log.warning("three are left out")
    assert caplog.messages == ["three are left out", "two are left out", "three are left out"]


def rows(encoder, *poolings):
    about = {"encoder": encoder, "data": "digits", "n_train": 8, "n_test": 4}
    found = [{**about, "protocol": "knn", "metric": "accuracy", "value": 0.5}]
    for pooling in poolings:
        for whitened in (False, True):
            part = {"metric": "mAP", "value": len(found) / 10, "pooling": pooling, "whitened": whitened}
            found.append({**about, "protocol": "retrieval", **part})
    return found


def test_a_column_names_all_that_tells_two_measures_apart():
    assert [console.column(row) for row in rows("trained", "GeM")] == [
        "knn", "retrieval mAP GeM", "retrieval mAP GeM whitened"
    ]  # fmt: skip
    assert console.column({"protocol": "lowshot", "metric": "accuracy", "shots": 5}) == "lowshot 5/class"


def test_more_measures_than_encoders_go_down_the_lines(capsys):
    console.print_results([*rows("trained", "GeM", "R-MAC"), *rows("pixels")])
    *printed, last = capsys.readouterr().out.splitlines()
    assert last == "Measured on 4 items of digits with 8 training items."
    lines = [line.split() for line in printed]
    assert lines[0] == ["measure", "trained", "pixels"]
    assert lines[1] == ["knn", "0.500", "0.500"]
    assert lines[2:] == [
        ["retrieval", "mAP", "GeM", "0.100"], ["retrieval", "mAP", "GeM", "whitened", "0.200"],
        ["retrieval", "mAP", "R-MAC", "0.300"], ["retrieval", "mAP", "R-MAC", "whitened", "0.400"],
    ]  # fmt: skip
    console.print_results([*rows("trained"), *rows("pixels")])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[:-1]] == [
        ["encoder", "knn"], ["trained", "0.500"], ["pixels", "0.500"]
    ]  # fmt: skip


def test_nothing_measured_is_said(capsys):
    console.print_results([])
    assert capsys.readouterr().out == "Nothing was measured: the messages above say why.\n"


def test_each_encoder_has_its_own_chance_where_they_differ(capsys):
    row = {"protocol": "clustering", "metric": "accuracy", "data": "digits", "n_train": 0, "n_test": 4, "value": 0.5}
    console.print_results([row | {"encoder": "trained", "chance": 0.25}, row | {"encoder": "pixels", "chance": 0.125}])
    said = capsys.readouterr().out
    assert "0.500 (chance 0.250)" in said and "0.500 (chance 0.125)" in said
    console.print_results([row | {"encoder": name, "chance": 0.25} for name in ("trained", "pixels")])
    assert ["chance", "0.250"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_control_is_not_the_value_of_a_run_without_one(capsys):
    console.print_comparison([{"run": "a", "knn": 0.5, "knn untrained": 0.25}, {"run": "b", "knn untrained": 0.125}])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:3]] == [
        ["a", "0.500", "(0.250)"], ["b", "-", "(0.125)"]
    ]  # fmt: skip
