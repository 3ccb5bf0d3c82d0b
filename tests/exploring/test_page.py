"""The page in a browser: user actions and their effects."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

import withhold
from tests.conftest import free_port
from tests.exploring.pages import (
    AROUND,
    PATIENCE,
    after,
    asked,
    drag,
    explored,
    guarded,
    name_it,
    new_class,
    over,
    serving,
    tell,
    truth,
    written,
)
from withhold.contract import tiny
from withhold.data.sounds import encode as encode_sound
from withhold.data.videos import encode as encode_video
from withhold.exploring.session import Session


def test_twenty_labels_by_keys(session, visit):
    page = visit(session.address)
    for _ in range(20):
        name_it(page)
    labels = written(session)
    assert len(labels) == 20 and all(truth(name) == label for name, label in labels.items())
    assert page.inner_text("#saved") == "20 labels, saved"

    skipped = asked(page)
    after(page, page.keyboard.press, " ")
    name_it(page)
    after(page, page.keyboard.press, "Backspace")
    assert Counter(written(session).values()) == {**Counter(labels.values()), "": 1}
    assert skipped not in written(session) and page.inner_text("#saved") == "20 labels, saved"

    before = asked(page)
    page.focus("#words")  # keys are letters where one types
    page.keyboard.type("1 n/")
    page.keyboard.press("Backspace")
    assert page.input_value("#words") == "1 n" and asked(page) == before and len(written(session)) == 21


def test_a_class_is_found_by_its_name_and_names_are_text(session, visit):
    page = visit(session.address)
    evil = "<img src=x onerror=alert(1)>"
    session.label([0, 1], ["flower", evil])
    page.wait_for_function("() => document.querySelectorAll('#classes button').length === 2")
    page.keyboard.press("/")
    page.keyboard.type("onerr")
    assert page.locator("#found li").all_inner_texts() == [evil]
    name = asked(page)
    after(page, page.keyboard.press, "Enter")
    assert written(session)[name] == evil
    assert evil in page.inner_text("#legend") and not page.locator("img[src='x']").count()


def test_the_map(session, visit):
    page = visit(session.address)
    over(page, session, 5)
    page.wait_for_selector("#tip img")
    assert page.inner_text("#tip") == "no label"
    page.mouse.click(*over(page, session, 5))
    page.wait_for_selector("#viewer[open]")
    near = page.locator("#view .grid button")
    assert page.inner_text("#view h2 >> nth=0") == session.samples.names[5] and near.count() == 40
    first = near.first.get_attribute("title")
    near.first.click()
    page.wait_for_function("name => document.querySelector('#view h2').textContent === name", arg=first)
    page.keyboard.press("Escape")

    drag(page, *AROUND, shift=True)
    page.wait_for_selector("#items-title:has-text('Lasso: 48 images')")
    page.fill("#all-name", "everything")
    page.press("#all-name", "Enter")
    page.wait_for_selector("#saved:has-text('48 labels')")
    page.click("#legend li")
    page.wait_for_selector("#items-title:has-text('everything: 48 images')")
    page.locator("#tab-items").press("Backspace")
    page.wait_for_selector("#saved:has-text('No labels yet')")
    assert set(written(session).values()) == {""}

    page.fill("#words", "flower/4")
    page.press("#words", "Enter")
    page.wait_for_selector("#items-title:has-text('“flower/4”')")
    assert all(
        "flower/4" in name for name in page.locator("#items button").evaluate_all("all => all.map(b => b.title)")
    )

    for colour, row in (("origin", "flower"), ("clusters", "cluster 0")):
        page.select_option("#colour", colour)
        page.wait_for_selector(f"#legend li:has-text('{row}')")
    tell(session, 12)
    page.select_option("#colour", "answers")
    page.wait_for_selector("#legend li:has-text('temple')")
    page.select_option("#colour", "sure")
    over(page, session, 21)
    page.wait_for_selector("#tip:has-text('%')")


def test_two_tabs_see_each_other_and_the_last_label_wins(session, visit):
    one, other = visit(session.address), visit(session.address)
    assert asked(one) == asked(other)
    name = asked(one)
    for page, label in ((one, "mine"), (other, "yours")):
        new_class(page, label)
    assert written(session)[name] == "yours"
    for page in (one, other):
        page.wait_for_selector("#saved:has-text('1 label,')")
        page.wait_for_function("() => document.querySelector('#legend li')?.textContent === 'yours1'")


def test_errors(session, visit):
    page = visit(session.address)
    tell(session, 24)
    session.label([0], ["temple"])
    while session.answers is None:
        page.wait_for_timeout(50)
    page.click("#tab-errors")
    page.wait_for_selector("#errors-note:has-text('of 24 labels are predicted correctly')")
    assert page.locator("#confusion tbody th").all_inner_texts() == ["flower", "temple"]
    assert page.locator("#unsure button").count() == 24 and page.locator("#strange button").count() == 40
    cell = page.locator("#confusion td button").first
    count = int(cell.inner_text())
    cell.click()
    page.wait_for_selector("#items-title:has-text('predicted as')")
    page.wait_for_selector("#items button")
    assert page.locator("#items button").count() == count


def test_labels_go_out_and_come_in(session, visit, tmp_path):
    page = visit(session.address)
    told = tell(session, 10)
    page.click("#tab-keep")
    assert page.inner_text("#file") == str(session.journal.path)
    files = []
    for name in ("labels.csv", "label-studio.json"):
        with page.expect_download() as download:
            page.click(f"a[href$='{name}']")
        files.append(tmp_path / name)
        download.value.save_as(files[-1])
    assert len(files[0].read_text().splitlines()) == 11 and len(json.loads(files[1].read_text())) == 10
    page.click("#folders")
    page.wait_for_selector("#keep-note:has-text('10 links in')")
    linked = sorted((tmp_path / "out" / "by-class-1").rglob("*.png"))
    assert len(linked) == 10 and all(path.parent.name == path.resolve().parent.name for path in linked)

    session.label(told, [""] * 10)
    for file in files:
        page.set_input_files("#import", file)
        page.wait_for_selector("#keep-note:has-text('10 images labelled')")
        page.wait_for_selector("#saved:has-text('10 labels')")
        session.label(told, [""] * 10)
    (tmp_path / "other.csv").write_text("colour,size\nred,3\n")
    page.set_input_files("#import", tmp_path / "other.csv")
    page.wait_for_selector("#toast:has-text('has the columns path and label')")


def test_training_stops_and_what_it_learned_is_shown(session, visit):
    page = visit(session.address)
    page.click("#tab-learn")
    page.click("#start")
    page.wait_for_selector("#toast:has-text('two classes or more')")
    tell(session, 20)
    page.wait_for_selector("#accuracy:has-text('with 20 labels')")

    page.select_option("#what", "finetune")
    page.click("#start")
    page.wait_for_selector("#stop:visible")
    page.click("#stop")
    page.wait_for_selector("#training-note:has-text('stopped after')")
    assert str(session.run.name) == "convnet"

    page.fill("#minutes", "0.1")
    page.click("#start")
    page.wait_for_selector("#training-note:has-text('finished after')", timeout=4 * PATIENCE)
    page.wait_for_selector("#about:has-text('runs/finetune-')")
    assert Path(session.run.name).parent == session.folder / "runs"
    assert page.is_visible("#loss") and len(written(session)) == 20


def test_the_page_comes_back_after_the_server_did(pictures, tmp_path, visit):
    folder, port = tmp_path / "out", free_port()
    folder.mkdir()
    session = Session(folder, "convnet", str(pictures), {"size": 32})
    session.begin()
    guard = guarded(session)
    with serving(guard, session, port) as address:
        page = visit(address)
        name_it(page)
    page.wait_for_selector("#saved.bad")
    session.closing = False
    tell(session, 8)
    with serving(guard, session, port):
        page.wait_for_selector("#saved:not(.bad)")
        page.wait_for_selector(f"#saved:has-text('{len(session.journal)} labels')")
    session.close()


def test_labels_outlive_a_kill(pictures, tmp_path, visit):
    words = ["explore", "convnet", str(pictures), "--size", "32", "--out", str(tmp_path / "out"), "--json"]
    command, pages = [sys.executable, "-m", "withhold", *words, "--port", str(free_port())], []
    for kept in ("No labels yet", "3 labels, saved"):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            pages.append(visit(json.loads(process.stdout.readline())["address"]))
            assert pages[-1].inner_text("#saved") == kept
            for _ in range(3):
                name_it(pages[-1])
            if len(pages) > 1:  # the cookie of the first one is worth nothing to another server
                pages[0].wait_for_selector("#saved:has-text('This page has expired')")
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    with open(tmp_path / "out" / "labels.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


def sounds(folder):
    items = tiny.sounds(1.0)
    for i in range(16):
        (folder / f"{i}.wav").write_bytes(encode_sound(items.read([i])[0], tiny.RATE))
    return folder


def films(folder):
    items = tiny.videos(8, 8.0)
    for i in range(8):
        with open(folder / f"{i}.mp4", "wb") as file:
            encode_video(items.read([i])[0], Fraction(8), file)
    return folder


def essays(folder):
    for i, text in enumerate(tiny.documents()[:16]):
        (folder / f"{i}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("kind", ["audio", "video", "text"])
def test_other_kinds(kind, tmp_path, visit):
    source = tmp_path / "source"
    source.mkdir()
    {"audio": sounds, "video": films, "text": essays}[kind](source)
    run = {"audio": "audio-cnn", "video": "conv3d", "text": str(tmp_path / "run")}[kind]
    if kind == "text":
        withhold.train("skipgram", str(source), out=run, epochs=1)
    with explored(source, tmp_path / "out", run) as (address, session):
        page = visit(address)
        for label in ("this", "that"):
            new_class(page, label)
        after(page, page.keyboard.press, "1")
        assert sorted(Counter(written(session).values()).values()) == [1, 2]
        if kind == "text":
            name = asked(page)
            assert page.inner_text("#stage pre").strip() == (source / name).read_text().strip()
            page.fill("#words", "sea ship")
            page.press("#words", "Enter")
            page.wait_for_selector("#items .text:has-text('sea')")
        else:
            page.wait_for_function(f"() => document.querySelector('#stage {kind}').readyState >= 1")
            assert page.eval_on_selector(f"#stage {kind}", "film => film.duration") == pytest.approx(1, abs=0.3)
            page.wait_for_function("() => document.querySelector('#stage img, #stage video[poster]')")
        page.mouse.click(*over(page, session, 3))
        page.wait_for_selector(f"#viewer[open] {'pre' if kind == 'text' else kind}")
