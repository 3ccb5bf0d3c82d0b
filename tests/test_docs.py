"""The README and the docs: their tables match the code, and their commands run."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.conftest import ROOT
from tests.data.test_boxes import voc
from withhold.cli import VERBS, main
from withhold.data import images
from withhold.data.sounds import encode

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


COMMANDED = [page for page in PAGES if any(block.startswith("withhold ") for block in blocks(page, "sh"))]
COMMANDED.remove(ROOT / "docs" / "audiovisual.md")  # has a test of its own, with sounds


@pytest.fixture
def home(tmp_path, photos, monkeypatch):
    """What the pages speak of: methods, photos, faces, screws, a table, texts, videos, places, pictures with sounds."""
    shutil.copy(ROOT / "withhold" / "methods" / "image" / "rotation.py", tmp_path / "mine.py")
    (tmp_path / "book.txt").write_text("the king is a man and the queen is a woman\n\n" * 40)
    for i, crop in enumerate(photos[:48]):
        folder = tmp_path / "photos" / ("temple" if i % 2 == 0 else "flower")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(folder / f"{i}.png")
    for other in ("other-photos", "streets", "smears"):
        shutil.copytree(tmp_path / "photos", tmp_path / other)
    for path in (tmp_path / "other-photos").rglob("*.png"):
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    listed = [f"temple/{i}.png,temple\nflower/{i + 1}.png,flower" for i in range(0, 24, 2)]
    for name, part in (("few", listed[:6]), ("held-back", listed[6:])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *part]))
    for i in range(24):  # what is light, what is dark, and between them what nobody knows
        light = photos[i].mean(2)
        mask = np.where(light > 140, 2, np.where(light < 110, 0, 1)).astype(np.uint8)
        for sort, picture in (("images", photos[i]), ("masks", mask)):
            folder = tmp_path / "scenes" / sort / ("test" if i % 4 == 0 else "train")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{i}.png")
    (tmp_path / "scenes" / "classes.txt").write_text("dark\nvoid\nlight\n")
    cells = {f"{i}": [("round", 0, 4 + i, 6, 16 + i, 18), ("flat", 0, 2, 20, 18, 26)] for i in range(12)}
    lists = voc(tmp_path / "cells", cells, **dict.fromkeys(cells, (40, 32))) / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for part, stems in (("train", [*cells][:8]), ("test", [*cells][8:])):
        (lists / f"{part}.txt").write_text("\n".join(stems))
    from datasets import Dataset

    (tmp_path / "cifar").mkdir()
    encoded = [{"bytes": images.encode(crop), "path": None} for crop in photos[48:96]]
    columns = {"image": encoded, "label": ["temple", "flower"] * 24}
    Dataset.from_dict(columns).to_parquet(tmp_path / "cifar" / "train.parquet")
    film_cats(tmp_path, photos)
    marked = [{"image": f"photos/temple/{i}.png", "points": "[[8, 8], [24, 8], [16, 20]]"} for i in range(0, 48, 2)]
    (tmp_path / "faces.jsonl").write_text("\n".join(map(json.dumps, marked)))
    for name, start in (("measured", 0), ("others", 24)):
        lines = [f"{folder}/{i}.png,{folder},{i / 7:.2f}" for i in range(start, start + 24)
                 for folder in [("photos/temple", "photos/flower")[i % 2]]]  # fmt: skip
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,place,height", *lines]))
    for place, (whole, top) in enumerate([(0, 0), (0, 300), (1, 100), (1, 300)]):  # photographs that overlap
        for i in range(10):
            crop = load_sample_images().images[whole][top : top + 96, 100 + 4 * i : 196 + 4 * i]
            folder = tmp_path / "walks" / ("bridge", "gate", "park", "hill")[place]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(crop).save(folder / f"{i}.png")
    for i, (part, sort) in enumerate([("train", "good"), ("test", "good"), ("test", "bent")] * 12):
        (tmp_path / "screws" / part / sort).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photos[i]).save(tmp_path / "screws" / part / sort / f"{i}.png")
    (tmp_path / "reviews").mkdir()
    for i in range(40):
        (tmp_path / "reviews" / f"{i}.txt").write_text(f"it was {('bad', 'good')[i % 2]} and the film was long " * 4)
    (tmp_path / "stars.csv").write_text("\n".join(["path,label", *(f"{i}.txt,{(1, 5)[i % 2]}" for i in range(8))]))
    rng = np.random.default_rng(0)
    for i in range(24):
        (tmp_path / f"{i}.wav").write_bytes(encode((8000 * rng.standard_normal(4000)).astype(np.int16), 8000))
        kept = tmp_path / "recordings" / ("hiss", "hum")[i % 2] / f"{i}.wav"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / f"{i}.wav", kept)
    (tmp_path / "heard.csv").write_text(
        "path,label\n" + "".join(f"{i}.wav,{('hiss', 'hum')[i % 2]}\n" for i in range(8))
    )
    (tmp_path / "filmed.csv").write_text("path,label\ncat.mp4,cat\ndog.mp4,dog\n")
    pairs = [f"photos/{'temple' if i % 2 == 0 else 'flower'}/{i}.png,{i}.wav,{i % 2}" for i in range(24)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,sound,label", *pairs]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def film(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def film_cats(folder, photos):
    """Videos of two actions, and two more; a mask of what a frame has in its middle, and frames with such masks."""
    for number in range(12):
        part = f"actions/{('train', 'test')[number // 4 % 2]}/{('run', 'walk')[number % 2]}"
        film(folder / part / f"{number}.mp4", [np.roll(photos[number], step, 1) for step in range(24)])
    for name, photo in zip(("cat", "dog"), photos, strict=False):
        frames = [np.roll(photo, 2 * step, 1) for step in range(96)]
        film(folder / "videos" / f"{name}.mp4", frames)
    labels = np.zeros((32, 32), dtype=np.uint8)
    labels[8:24, 8:24] = 1
    Image.fromarray(labels).save(folder / "first.png")
    (folder / "points.csv").write_text("name,x,y\nnose,10,12\npaw,20,25\n")
    for part, pictures in (("images", frames[:24]), ("masks", [np.roll(labels, 2 * step, 1) for step in range(24)])):
        (folder / "davis" / part / "dog").mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / "davis" / part / "dog" / f"{number:05d}.png")


@pytest.fixture
def served(monkeypatch):
    """Pages end as soon as they are served."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from withhold.exploring.server import Server

    run = Server.run

    def once(server, sockets):
        server.should_exit = True
        run(server, sockets=sockets)

    monkeypatch.setattr(Server, "run", once)


@pytest.mark.parametrize("page", COMMANDED, ids=lambda page: page.stem)
def test_every_command_runs(page, home, served):
    """As it stands there, but for the length of the training, and of a page's life."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    commands = [re.split(r"(?:^|\s)#", line)[0].strip() for line in lines]
    for command in filter(None, commands):
        command = re.sub(r"--steps \S+", "--steps 2", command)
        words = shlex.split(
            re.sub(r"--minutes \S+", "--minutes 0.02", command).replace("--encoder resnet18", "--encoder convnet")
        )
        if words[0] == "withhold":
            assert main(words[1:]) == 0, command
        else:  # whose help is asked for below, and whose data are not here
            assert words[:1] == ["python"] and words[1].startswith("benchmarks/"), command


def test_the_python_of_the_readme_runs(home):
    import torch

    names = {"torch": torch, "batches": [torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)]}
    for block in blocks(ROOT / "README.md", "python"):
        exec(block.replace("minutes=10", "minutes=0.02"), names)
    assert names["table"].num_rows == 48
    assert names["encoder"].dim == 256


def test_verbs_named_anywhere_in_the_docs_exist():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for verb in re.findall(r"(?:`|^|\n)withhold ([a-z]+)", page.read_text(encoding="utf-8")):
            assert verb in VERBS, f"{page.name}: withhold {verb}"


def test_scripts_named_in_the_docs_take_help(monkeypatch, capsys):
    scripts = {word for page in PAGES for word in re.findall(r"benchmarks/\S+?\.py", page.read_text(encoding="utf-8"))}
    assert scripts
    for script in sorted(scripts):
        monkeypatch.setattr(sys, "argv", [script, "--help"])
        monkeypatch.syspath_prepend(str(ROOT / Path(script).parent))
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        assert end.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: {Path(script).name}")


def test_a_table_without_rows_is_not_shown():
    for page in PAGES:
        assert not re.search(r"^\| ---.*\n<!-- end -->", page.read_text(encoding="utf-8"), re.MULTILINE), page


def test_generated_tables_are_fresh():
    said = subprocess.run([sys.executable, "docs/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]+))?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(page.parent / target if target else page), f"{page.name}: {anchor}"


def anchors(page):
    """The anchors of its headings, as on GitHub."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_licence_of_every_dependency_is_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [needs for name, needs in project["optional-dependencies"].items() if name != "dev"]
    page = (ROOT / "docs" / "licences.md").read_text()
    for need in chain(project["dependencies"], *extras):
        assert f"`{re.match('[a-z0-9-]+', need)[0]}`" in page, need


def test_every_pinned_release_but_torch_has_its_hashes():
    def pins(file):
        return {
            line.split()[0].lower().replace("_", "-") for line in (ROOT / file).read_text().splitlines() if "==" in line
        }

    locked = (ROOT / "requirements.lock").read_text()
    assert pins("requirements.lock") == {pin for pin in pins("constraints.txt") if not pin.startswith("torch==")}
    assert all("--hash=sha256:" in after for after in re.split(r"^\S+==\S+", locked, flags=re.MULTILINE)[1:])


def test_make_has_the_two_commands():
    assert shutil.which("make")
    said = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True)
    assert "withhold demo" in said.stdout
