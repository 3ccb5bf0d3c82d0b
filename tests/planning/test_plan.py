"""`withhold plan` from the command line: from images on disk to a table and a page, and a resumed plan."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import withhold
from withhold.cli import main
from withhold.contract import tiny
from withhold.errors import UsageError
from withhold.planning import walk
from withhold.planning.affinity import affinities, win_rates
from withhold.planning.tasks import Task


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Photographs of two scenes, whose table has their label, a number of each, a class that few have, and masks."""
    folder = tmp_path_factory.mktemp("images")
    lines = ["image,label,light,rare,same,mask"]
    for i, photo in enumerate(tiny.photographs().array[:80]):
        Image.fromarray(photo).save(folder / f"{i}.png")
        Image.fromarray((photo.mean(2) > 120).astype(np.uint8)).save(folder / f"mask{i}.png")
        lines.append(f"{i}.png,{i % 2},{photo.mean():.2f},{'ab'[i % 2] if i < 2 else ''},a,mask{i}.png")
    (folder / "images.csv").write_text("\n".join(lines))
    return str(folder / "images.csv")


def words(images, *more, out="plan"):
    return ["plan", images, "--encoder", "convnet", "--minutes", "0.02", "--out", str(out), *more]


@pytest.fixture(scope="module")
def planned(images, tmp_path_factory):
    """The folder of a plan with three tasks."""
    out = tmp_path_factory.mktemp("planned") / "plan"
    assert main(words(images, "--tasks", "rotation,edges,label,light,mask", "--budget", "2", out=out)) == 0
    return out


def test_a_plan_serves_every_target_within_its_budget(planned):
    found = json.loads((planned / "plan.json").read_text())
    assert found["targets"] == ["edges", "label", "light", "mask"]
    assert [row["target"] for row in found["plan"]] == found["targets"]
    assert len({source for row in found["plan"] for source in row["sources"]}) <= 2
    for target in found["targets"]:
        rows = [row for row in found["rows"] if row["target"] == target]
        assert len(rows) == 6 + 10 and sum(row["affinity"] for row in rows) == pytest.approx(1)
        own = next(row for row in rows if row["sources"] == [target])
        assert own["quality"] == 0.5 and all(0 <= row["gain"] <= 1 for row in rows)
    page = (planned / "plan.html").read_text()
    assert "<svg" in page and "with a budget of 2 tasks" in page


def test_another_budget_needs_no_new_network(planned, images, monkeypatch, capsys):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(walk, "train", refuse)
    monkeypatch.setattr(walk.transfers, "learn", refuse)
    more = ("--tasks", "rotation,edges,label,light,mask", "--targets", "label", "--order", "1")
    assert main(words(images, *more, "--budget", "1", out=planned)) == 0
    said = capsys.readouterr().out
    assert "Next: withhold plan" in said and "--tasks rotation,edges,label,light,mask --targets label --order 1" in said
    assert "Planning took" in said and f"The page is {planned}/plan.html" in said
    assert main([*words(images, *more, "--budget", "1", out=planned), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    best = max(found["rows"][:-1], key=lambda row: row["affinity"])
    assert found["rows"][-1]["sources"] == ["random"]  # the control, which is no choice
    assert found["plan"] == [best] and len(found["rows"]) == 6


def test_where_fresh_weights_serve_best_more_minutes_are_advised(
    planned, images, tmp_path, monkeypatch, capsys, caplog
):
    """Fresh weights are made to win over all sources of some targets."""
    own, losing = walk.weigh, {"edges", "label", "light", "mask"}

    def weigh(errors):
        found = own(errors)
        found[list(errors).index((walk.RANDOM,))] += target in losing
        return found

    def compare(self, name, truth, order):
        nonlocal target
        target = name
        return whole(self, name, truth, order)

    folder = shutil.copytree(planned, tmp_path / "plan")
    target, whole = "", walk.Walk.compare
    monkeypatch.setattr(walk, "weigh", weigh)
    monkeypatch.setattr(walk.Walk, "compare", compare)
    asked = words(images, "--tasks", "rotation,edges,label,light,mask", "--budget", "2", out=folder)
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "No task beats random weights yet: give more --minutes.\n" in said
    assert re.search(r"Next: withhold plan .*--minutes 0\.08 .*--out \S*plan-0\.08min", said)
    assert "--budget 3" not in said
    assert caplog.text.count("no task is better than random weights") == 4
    assert "<h1>No task beats random weights yet: give more --minutes</h1>" in (folder / "plan.html").read_text()
    losing.remove("edges")
    assert main(asked) == 0
    said, page = capsys.readouterr().out, (folder / "plan.html").read_text()
    assert "Train on " in said and "light (random weights are best)" in said and "--budget 3" in said
    assert "edges (random" not in said
    assert "For label, light, mask, a randomly initialised network is best" in page


def test_an_interrupted_plan_goes_on(images, tmp_path, monkeypatch):
    own, made = walk.train, []

    def train(method, *sources, **options):
        made.append(method)
        if len(made) == 2:
            raise KeyboardInterrupt
        return own(method, *sources, **options)

    monkeypatch.setattr(walk, "train", train)
    asked = words(images, "--tasks", "rotation,label", "--budget", "1", "--order", "1", out=tmp_path / "plan")
    assert main(asked) == 130
    assert main(asked) == 0
    assert made == ["rotation", "multitask", "multitask"]
    with pytest.raises(UsageError, match=r"was made with minutes 0\.02, not 3\.0\. Repeat its own options"):
        withhold.plan(
            images, tasks=["rotation", "label"], budget=1, minutes=3.0, encoder="convnet", out=tmp_path / "plan"
        )


def test_what_chooses_a_plan_does_not_judge_it(planned, tmp_path):
    """Affinities are of every other held-out item, gain and quality of those between them."""
    found = json.loads((planned / "plan.json").read_text())
    rows = [row for row in found["rows"] if row["target"] == "label"]
    errors = {tuple(row["sources"]): np.load(planned / "errors" / "label" / f"{'+'.join(row['sources'])}.npy")
              for row in rows}  # fmt: skip
    alone = np.load(planned / "scratch" / "label.npy")
    worth = affinities(win_rates(np.stack(list(errors.values()))[:, ::2]))
    for row, affinity in zip(rows, worth, strict=True):
        own = errors[tuple(row["sources"])]
        assert row["affinity"] == pytest.approx(affinity)
        assert row["gain"] == pytest.approx((own < alone)[1::2].mean())


def test_copies_of_an_image_are_on_one_side(tmp_path):
    photos = np.repeat(tiny.photographs().array[:20], 3, axis=0)
    found = walk.Walk(tmp_path, withhold.data.load(photos), {}, {"seed": 0}, "convnet", None)
    many, few, held = ({*part.digests()} for part in (found.many, *found.parts))
    assert len(many | few | held) == len(many) + len(few) + len(held) == 20
    assert len(few) == len(held) == 4


@pytest.mark.parametrize(("encoder", "size"), [("efficientnet-lite0", 64), ("convnet", 128)])
def test_the_control_sees_images_of_the_size_that_the_tasks_see(tmp_path, encoder, size, caplog):
    """Published weights suit larger images than these, and a CPU smaller ones."""
    photos = withhold.data.load(tiny.photographs().array[:20], size=size)
    with caplog.at_level("INFO"):
        found = walk.Walk(tmp_path, photos, {"edges": Task("edges")}, {"seed": 0}, encoder, None)
    errors = found.read(walk.SCRATCH, found.truth("edges"), 1)
    assert found.fresh().size == size and np.isfinite(errors).all()
    assert not caplog.messages, "no other size is said"


@pytest.mark.parametrize(("interrupted", "steps"), [(0.0, 500), (9.0, 20)])
def test_heads_get_the_steps_that_fit_beside_what_every_read_costs(tmp_path, monkeypatch, interrupted, steps):
    """Two heads and the control take 2 s and 10 ms a step each, and the first read of all 30 s more: 21 s in total.

    If a read without steps seems slower than one with some, all of the latter counts as steps.
    """
    clock = 0.0

    def read(self, sources, truth, steps):
        nonlocal clock
        clock += 2 + 0.01 * steps + 30 * (clock == 0) + interrupted * (steps == 0)

    monkeypatch.setattr(walk, "time", SimpleNamespace(perf_counter=lambda: clock))
    monkeypatch.setattr(walk.Walk, "read", read)
    tasks = {name: Task(name) for name in ("edges", walk.RANDOM)}
    found = walk.Walk(
        tmp_path, withhold.data.load(tiny.photographs().array[:20]), tasks, {"seed": 0, "minutes": 1}, "convnet", None
    )
    assert found.pace({"edges": found.truth("edges")}, 1) == pytest.approx(steps, abs=1)


def test_what_is_withheld_from_a_view_is_no_target():
    asked = {name for name in ("edges", "corners", "autoencoding", "rotation", "jigsaw") if Task(name, "any").asked}
    assert asked == {"edges", "corners", "autoencoding"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--tasks", "rotaton", "--budget", "1"), "There is no task 'rotaton' of .*: did you mean rotation"),
        (("--budget", "0"), "The budget must be at least 1, not 0"),
        (("--budget", "1", "--encoder", "gone.safetensors"), "gone.safetensors"),
        (("--budget", "1", "--minutes", "-1"), "The minutes must be a number above 0, not -1"),
        (("--budget", "1", "--minutes", "0"), "The minutes must be a number above 0, not 0"),
        (("--budget", "1", "--seed", "-1"), "The seed must be a number of at least 0, not -1"),
        (("--budget", "1", "--order", "0"), "The order must be at least 1, not 0"),
        (("--tasks", "rotation,jigsaw", "--budget", "1"), "None of the tasks can be a target"),
        (
            ("--tasks", "rotation,edges", "--targets", "rotation", "--budget", "1"),
            "cannot be a target, since it asks about a change made to the image",
        ),
        (("--tasks", "edges", "--targets", "label", "--budget", "1"), "The target label is not one of the tasks"),
        (("--tasks", "edges,rare", "--budget", "1"), "The target rare has too few labelled items"),
        (("--tasks", "edges,same", "--budget", "1"), "The target same .* the same value for all"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_learned(images, tmp_path, more, sentence, capsys, monkeypatch):
    monkeypatch.setattr(walk, "train", None)
    out = tmp_path / "plan"
    assert main(words(images, *more, out=out)) == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not out.exists()


def test_a_folder_without_labels_has_no_task_of_them(images, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted(Path(images).parent.glob("[0-9]*.png"))[:20]:
        (folder / path.name).write_bytes(path.read_bytes())
    assert main(words(str(folder), "--tasks", "edges,label", "--budget", "1", out=tmp_path / "plan")) == 2
    assert "has no labels" in capsys.readouterr().err


def test_labels_come_from_several_files(monkeypatch):
    asked = {}
    monkeypatch.setattr(withhold, "plan", lambda source, **given: asked.update(given), raising=False)
    assert main(["plan", "photos", "--budget", "1", "--labels", "a.csv", "--labels", "b.csv", "--json"]) == 0
    assert asked["labels"] == ["a.csv", "b.csv"]
