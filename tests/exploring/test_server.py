"""Requests of the page: valid ones are answered, invalid ones refused with a message, and labels persist."""

import csv
import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from tests.exploring.sessions import WRITE, begun, client, folder, settled, truth  # noqa: F401  (a fixture)
from withhold.errors import UsageError, WithholdError
from withhold.exploring import atlas, explore
from withhold.exploring.kept import Kept
from withhold.exploring.session import Session
from withhold.exploring.training import Training


@pytest.fixture
def session(folder, tmp_path):  # noqa: F811
    return begun(folder, tmp_path / "page")


def test_the_state_and_the_arrays_are_of_all_readable_items(session):
    browser = client(session)
    state = browser.get("/state").json()
    assert state["count"] == 60 and state["kind"] == "image" and state["classes"] == [] and not state["words"]
    assert {"learn", "finetune", "uda", "fixmatch"} <= set(state["methods"]) and "uda_text" not in state["methods"]
    places = np.frombuffer(browser.get("/array/places").content, "<f4").reshape(-1, 2)
    assert places.shape == (60, 2) and np.abs(places).max() <= 1
    assert np.frombuffer(browser.get("/array/labels").content, "<i2").tolist() == [-1] * 60
    clusters = np.frombuffer(browser.get("/array/clusters").content, "<i2")
    assert len(clusters) == 60 and clusters.min() >= 0
    assert browser.get("/array/none").status_code == 404


def test_a_label_is_written_answered_and_told_to_every_page(session):
    browser, heard = client(session), session.listen()
    answer = browser.post("/label", json={"items": [3, 4], "labels": ["cat", "dog"]}, headers=WRITE)
    assert answer.json() == {"labelled": 2, "alike": None}
    assert heard.popleft() == {"labels": [[3, 0], [4, 1]], "classes": ["cat", "dog"], "counts": [1, 1]}
    with open(session.journal.path, newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["cat", "dog"]
    assert browser.get("/export/labels.csv").text.splitlines() == ["path,label", "03.png,cat", "04.png,dog"]


def test_a_class_that_may_be_mistyped_is_named(session):
    browser = client(session)
    browser.post("/label", json={"items": [5, 6], "labels": ["dog", "elephant"]}, headers=WRITE)
    answer = browser.post("/label", json={"items": [9], "labels": ["elefant"]}, headers=WRITE)
    assert answer.json()["alike"] == ["elephant", "elefant"]
    browser.post("/label", json={"items": [7], "labels": ["elephant"]}, headers=WRITE)
    answer = browser.post("/label", json={"items": [8], "labels": ["Dog"]}, headers=WRITE)
    assert answer.json()["alike"] == ["dog", "Dog"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/label", {"items": [60], "labels": ["x"]}, "whole numbers"),
        ("/label", {"items": [-1], "labels": ["x"]}, "whole numbers"),
        ("/label", {"items": [True], "labels": ["x"]}, "whole numbers"),
        ("/label", {"items": "1", "labels": ["x"]}, "whole numbers"),
        ("/label", {"items": [1], "labels": [3]}, "texts"),
        ("/label", {"items": [1], "labels": ["a\nb"]}, "one line"),
        ("/label", [], "JSON object"),
        ("/train", {"what": "learn", "minutes": "1"}, "minutes"),
        ("/train", {"what": "learn", "minutes": 1}, "two classes"),
        ("/train", {"what": "--out=/etc", "minutes": 1}, "cannot be trained"),
        ("/train", {"what": "learn", "minutes": -1}, "more than 0"),
        ("/take", {"text": "a,b\n"}, "columns path and label"),
        ("/take", {"text": 3}, "table of labels"),
        ("/folders", {}, "no labels yet"),
    ],
)
def test_what_makes_no_sense_is_refused(session, path, body, said):
    answer = client(session).post(path, json=body, headers=WRITE)
    assert answer.status_code == 400 and said in answer.json()["error"]
    assert not len(session.journal) and session.training is None


def test_what_a_browser_cannot_send_is_refused_and_the_page_goes_on(session):
    browser, half = client(session), b'{"items": [0], "labels": ["\\ud83d"]}'
    for body, said in ((half, "not a valid label"), (b"[" * 100_000, "JSON object")):
        answer = browser.post("/label", content=body, headers=WRITE)
        assert answer.status_code == 400 and said in answer.json()["error"]
    assert browser.get("/state").status_code == 200


def test_no_path_of_a_browser_leads_to_a_file(session):
    browser = client(session)
    for path in ("/script/../session.py", "/script/..%2fsession.py", "/script/%2e%2e/%2e%2e/files.py",
                 "/picture/../../etc/passwd", "/picture/-1/small", "/picture/0/huge", "/picture/99/small",
                 "/film/0", "/export/..%2f..%2fetc%2fpasswd/x", "/etc/passwd"):  # fmt: skip
        assert browser.get(path).status_code in (400, 404), path


def test_a_picture_is_made_anew_and_small(session):
    browser = client(session)
    answer = browser.get("/picture/0/small")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.content[:4] == b"RIFF"
    again = browser.get("/picture/0/small", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert browser.get("/picture/1/small", headers={"if-none-match": answer.headers["etag"]}).status_code == 200


def test_another_session_s_pictures_are_not_taken_from_the_browser(session, tmp_path, photos):
    other = tmp_path / "other"
    other.mkdir()
    for i in range(4):
        Image.fromarray(photos[-1 - i]).save(other / f"{i:02}.png")
    known = {"if-none-match": client(session).get("/picture/0/small").headers["etag"]}
    assert client(begun(other, tmp_path / "later")).get("/picture/0/small", headers=known).status_code == 200


def test_a_label_that_was_removed_does_not_come_back(folder, tmp_path):  # noqa: F811
    few = tmp_path / "few.csv"
    few.write_text("path,label\n03.png,cat\n04.png,dog\n")
    session = begun(folder, tmp_path / "page", labels=str(few))
    assert session.journal.known() == [("03.png", "cat"), ("04.png", "dog")]
    session.label([3], [""])
    session.close()
    assert begun(folder, tmp_path / "page", labels=str(few)).journal.known() == [("04.png", "dog")]


def test_names_and_classes_are_data_never_part_of_the_page(tmp_path, photos):
    wild = tmp_path / "<img src=x onerror=alert(1)>"
    wild.mkdir()
    for i in range(4):
        Image.fromarray(photos[i]).save(wild / f"<script>alert({i})<{i}>.png")
    session = begun(wild, tmp_path / "page")
    browser = client(session)
    assert "<img src=x" not in browser.get("/").text
    browser.post("/label", json={"items": [0], "labels": ["</script><script>alert(1)</script>"]}, headers=WRITE)
    assert browser.get("/state").headers["content-type"] == "application/json"
    assert browser.get("/item/0").json()["label"] == "</script><script>alert(1)</script>"


def test_an_svg_or_html_file_among_the_items_is_never_sent(tmp_path, photos):
    mixed = tmp_path / "data"
    mixed.mkdir()
    for i in range(4):
        Image.fromarray(photos[i]).save(mixed / f"{i}.png")
    (mixed / "evil.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    (mixed / "evil.png").write_text("<html><script>alert(1)</script></html>")
    session = begun(mixed, tmp_path / "page")
    assert len(session.samples) == 4
    browser = client(session)
    assert {browser.get(f"/picture/{i}/large").headers["content-type"] for i in range(4)} == {"image/webp"}


def test_the_queue_asks_for_others_and_errors_are_found(session):
    browser, names = client(session), truth(session)
    first = [item["item"] for item in browser.get("/queue").json()]
    assert len(first) == 20 == len(set(first))
    for item in first:
        browser.post("/label", json={"items": [item], "labels": [names[item]]}, headers=WRITE)
    browser.post("/skip", json={"items": [next(i for i in range(60) if i not in first)]}, headers=WRITE)
    settled(session)
    rest = [item["item"] for item in browser.get("/queue", params={"strategy": "margin"}).json()]
    assert len(rest) == 20 and not set(rest) & set(first)
    found = browser.get("/errors").json()
    assert found["accuracy"][0] > 0.8 and sum(cell["count"] for cell in found["confusion"]) == 20
    assert len(found["unsure"]) == len(found["strange"]) == 40
    known = browser.get(f"/item/{first[0]}").json()
    assert known["label"] == names[first[0]] == known["likely"][0][0] and len(known["near"]) == 40
    assert browser.get("/queue", params={"strategy": "best"}).status_code == 400


def test_search_finds_names_and_labels_come_back_from_a_table(session):
    browser = client(session)
    assert [item["name"] for item in browser.get("/search", params={"words": "3"}).json()][:2] == ["03.png", "13.png"]
    done = browser.post("/take", json={"text": "path,label\n03.png,cat\n99.png,dog\n"}, headers=WRITE)
    assert done.json() == {"labelled": 1, "lost": 1} and session.journal.known() == [("03.png", "cat")]
    made = browser.post("/folders", headers=WRITE).json()
    assert made["count"] == 1 and (session.folder / "by-class-1" / "cat" / "03.png").is_file()


def test_a_flood_of_writes_leaves_a_whole_file_and_a_page_that_answers(session):
    browser = client(session)

    def give(n):
        return browser.post("/label", json={"items": [n % 60], "labels": [f"class {n % 7}"]}, headers=WRITE).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(give, range(400))) == {200}
    with open(session.journal.path, newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 401 and all(len(row) == 3 for row in rows)
    assert browser.get("/state").status_code == 200


def test_opened_again_everything_is_there(folder, tmp_path):  # noqa: F811
    out = tmp_path / "page"
    session = begun(folder, out)
    session.label([1, 2, 5], ["cat", "dog", "cat"])
    session._draw()
    again = begun(folder, out)
    assert again.journal.known() == session.journal.known()
    np.testing.assert_array_equal(again.places, session.places)
    assert again.kept.drawn


@pytest.mark.parametrize("name", ["explore.json", "curve.json"])
def test_a_damaged_file_of_the_folder_is_named(folder, tmp_path, name):  # noqa: F811
    (tmp_path / name).write_text('{"asked": ')
    with pytest.raises(WithholdError, match=f"{name} is damaged"):
        begun(folder, tmp_path)


@pytest.mark.parametrize("name", ["features.npy", "map.npz"])
def test_a_damaged_file_that_can_be_made_anew_is(folder, tmp_path, name, caplog):  # noqa: F811
    session = begun(folder, tmp_path)
    session._draw()
    features, whole = session.adviser.parts, (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    again = begun(folder, tmp_path)
    assert f"{name} is damaged" in caplog.text
    assert torch.equal(again.adviser.parts, features)


def test_labels_of_several_files_are_taken_over(folder, tmp_path):  # noqa: F811
    files = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for file, line in zip(files, ("03.png,cat", "04.png,dog"), strict=True):
        file.write_text(f"path,label\n{line}\n")
    session = begun(folder, tmp_path / "page", labels=list(map(str, files)))
    assert session.journal.known() == [("03.png", "cat"), ("04.png", "dog")]


def test_labels_of_a_file_and_open_ones_of_the_source_are_taken_over_once(folder, tmp_path):  # noqa: F811
    (tmp_path / "few.csv").write_text("path,label\n03.png,cat\n04.png,dog\n")
    session = begun(folder, tmp_path / "page", labels=str(tmp_path / "few.csv"))
    assert session.journal.known() == [("03.png", "cat"), ("04.png", "dog")]
    session.label([3], ["horse"])
    again = begun(folder, tmp_path / "page", labels=str(tmp_path / "few.csv"))
    assert again.journal.known() == [("03.png", "horse"), ("04.png", "dog")]


SERVER = "from withhold.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def served(folder, out):  # noqa: F811
    """A server in another process, and its address."""
    asked = ["explore", "convnet", str(folder), "--size", "32", "--out", str(out), "--json"]
    process = subprocess.Popen([sys.executable, "-c", SERVER, *asked], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["address"]
    return process, address


def test_a_server_that_is_killed_loses_no_label_and_its_folder_opens_again(folder, tmp_path):  # noqa: F811
    import httpx2

    out = tmp_path / "page"
    process, address = served(folder, out)
    with httpx2.Client(follow_redirects=True) as browser:
        assert browser.get(address).status_code == 200
        base = address.split("?")[0]
        for item in range(10):
            assert (
                browser.post(f"{base}label", json={"items": [item], "labels": ["x"]}, headers=WRITE).status_code == 200
            )
    with pytest.raises(WithholdError, match="Another process is writing"):
        explore(str(folder), run="convnet", out=out)
    process.kill()
    process.wait()
    session = begun(folder, out)
    assert len(session.journal) == 10
    process, _ = served(folder, out)
    process.terminate()  # SIGINT does nothing to what was started in the background
    assert process.wait(60) == 128 + signal.SIGTERM


def test_labels_behind_a_frozen_encoder_are_not_measured_on(folder, tmp_path):  # noqa: F811
    labels = tmp_path / "few.csv"
    labels.write_text("path,label\n" + "".join(f"{i:02}.png,{'ab'[i % 2]}\n" for i in range(20)))
    given = {"size": 16, "encoder": "convnet", "epochs": 1, "no_report": True}
    withhold.train("finetune", str(folder), labels=str(labels), out=tmp_path / "taught", **given)
    withhold.train("rotation", str(folder), out=tmp_path / "untaught", **given)
    told = []
    for name in ("taught", "untaught"):
        given |= {"encoder": str(tmp_path / name), "labels": str(labels), "freeze": "all"}
        run = withhold.train("finetune", str(folder), out=tmp_path / f"{name}-head", **given)
        (page := tmp_path / f"{name}-page").mkdir()
        told.append(int(Session(page, str(run.folder), str(folder), {}).adviser.told.sum()))
    assert told == [20, 0]


def test_a_twin_is_told_to_every_page_too(folder, tmp_path):  # noqa: F811
    table = tmp_path / "photos.csv"
    table.write_text("path\n" + "".join(f"{folder / f'{i % 12:02}.png'}\n" for i in range(15)))
    session = Session(tmp_path, "convnet", str(table), {"size": 32})
    heard = session.listen()
    session.label([0], ["house"])
    assert heard[-1]["labels"] == [[0, 0], [12, 0]]


def test_a_loss_that_is_not_finite_is_no_point_of_the_curve(tmp_path):
    failed = Training(tmp_path / "runs" / "x", ["train", "no-such-method"], minutes=1)
    failed._process.wait(60)
    (tmp_path / "runs" / "x").mkdir()
    (tmp_path / "runs" / "x" / "metrics.csv").write_text("step,loss\n100,1.5\n200,nan\n")
    first, second = failed.state(), failed.state()
    assert first["curve"] == [[100, 1.5]]
    assert first["failed"] and not first["running"] and first["seconds"] == second["seconds"]


def test_features_that_are_being_replaced_belong_to_no_encoder(folder, tmp_path, monkeypatch):  # noqa: F811
    session = begun(folder, tmp_path / "page")
    other, note = withhold.load("vit-tiny", size=32, channels=3), Kept._note

    def dies(self, **about):
        if about.get("features"):
            raise KeyboardInterrupt
        note(self, **about)

    monkeypatch.setattr(Kept, "_note", dies)
    with pytest.raises(KeyboardInterrupt):
        session.kept.features(other, session.samples)
    monkeypatch.undo()
    assert begun(folder, tmp_path / "page").adviser.features.shape[1] == session.adviser.features.shape[1]


def test_damaged_features_are_computed_again(folder, tmp_path):  # noqa: F811
    session = begun(folder, tmp_path / "page")
    (tmp_path / "page" / "features.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', (")
    torch.testing.assert_close(begun(folder, tmp_path / "page").adviser.features, session.adviser.features)


def test_items_of_one_name_share_a_label(folder, tmp_path, caplog):  # noqa: F811
    table = tmp_path / "photos.csv"
    table.write_text("path\n" + "".join(f"{folder / f'{i % 12:02}.png'}\n" for i in range(15)))
    session = Session(tmp_path, "convnet", str(table), {"size": 32})
    assert len(session.samples) == 15
    assert "3 items with the name of another one; they share their label" in caplog.messages
    session.label([0], ["house"])
    assert session.journal.labels[[0, 12]].tolist() == [0, 0] and len(session.journal.known()) == 1
    of, features = session.kept.about["features"], session.adviser.features
    session._adopt("convnet")
    assert session.kept.about["features"] == of and torch.equal(session.adviser.features, features)  # not made again


def test_a_training_whose_data_have_changed_says_so(session, monkeypatch):
    monkeypatch.setattr(Session, "samples", session.samples.select(range(60)), raising=False)
    session.samples.names[7] = "07-renamed.png"
    with pytest.raises(UsageError, match=r"07-renamed\.png is no longer in"):
        session._adopt("convnet")


def test_closing_waits_for_the_threads(session, monkeypatch):
    """Compiled code of a thread would abort a process that ends first."""
    began = threading.Event()
    embed = atlas.embed
    monkeypatch.setattr(atlas, "embed", lambda *given: began.set() or embed(*given))
    session.begin()
    assert began.wait(20)
    session.close()
    assert not any(thread.is_alive() for thread in session._threads)


def test_a_map_ends_early_when_it_is_asked_to():
    parts, asked = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), []
    start = atlas.plane(parts)
    found = atlas.embed(parts, start, 0, lambda: asked.append(None) or len(asked) == 3)
    assert len(asked) == 3 and found.shape == (60, 2) and np.abs(found).max() <= 1


def test_a_training_runs_beside_the_page_which_then_shows_its_run(session):
    names = truth(session)
    session.label(range(12), names[:12])
    session.begin()
    session.train("finetune", 0.05)
    with pytest.raises(UsageError, match="A training is running"):
        session.train("finetune", 0.05)
    deadline = time.monotonic() + 200
    while "finetune-1" not in str(session.run.name) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert session.run.name.endswith("finetune-1"), session.training.state()["said"]
    state = session.training.state()
    assert not state["running"] and state["share"] == 1 and state["curve"]
    assert session.adviser.told.sum() == 12  # which are not measured on any more
    again = Session(session.folder, "convnet", session.source, {"size": 32})
    assert again.run.name == session.run.name
    session.close()


def test_learn_starts_from_the_encoder_that_was_given_and_not_from_one_trained_on_the_labels(session, monkeypatch):
    session.label(range(12), truth(session)[:12])
    withhold.train(
        "finetune", session.source, labels=session.journal.path, encoder="convnet", epochs=0, size=32, no_report=True,
        out=session.folder / "runs" / "finetune-1",
    )  # fmt: skip
    session._adopt(str(session.folder / "runs" / "finetune-1"))
    asked = []
    monkeypatch.setattr("withhold.exploring.session.Training", lambda out, words, minutes: asked.append(words) or 1 / 0)
    for what, start in (("learn", "convnet"), ("finetune", str(session.run.name))):
        with pytest.raises(ZeroDivisionError):
            session.train(what, 1)
        assert asked[-1][asked[-1].index("--encoder") + 1] == start


def test_a_training_that_is_stopped_harms_nothing(session):
    session.label(range(12), truth(session)[:12])
    session.train("learn", 5)
    time.sleep(1)
    session.stop()
    assert session.training.state()["stopped"] or not session.training.running
    session.close()
    assert not session.training.running and not session.training.succeeded
    assert len(session.journal) == 12 and session.run.name == "convnet"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"host": "0.0.0.0"}, "password"), ({"port": 1 << 20}, "port"), ({"run": "nothing-there"}, "nothing-there")],
)
def test_what_cannot_be_served_is_said_and_leaves_nothing(folder, tmp_path, options, said):  # noqa: F811
    with pytest.raises(UsageError, match=re.compile(said, re.I)):
        explore(str(folder), **{"run": "convnet", "out": tmp_path / "page", "decoding": {"size": 32}} | options)
    assert not (tmp_path / "page").exists()
