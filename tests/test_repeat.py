"""The tool that repeats benchmarks: it detects what changed, and copies the results back."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import repeat

SCRIPT = """# measures simclr and moco
import json, pathlib, subprocess, sys
if sys.argv[1] == "fails":
    sys.exit(3)
commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
about = {"command": "python " + " ".join(sys.argv), "commit": commit, "date": sys.argv[2]}
results = pathlib.Path("benchmarks/results")
for name in (sys.argv[1], "new/" + sys.argv[1]):
    (results / name).parent.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(about))
    (results / f"{name}.webp").write_bytes(sys.argv[2].encode())
"""


@pytest.fixture
def project(tmp_path):
    """A repository with two methods, a benchmark, and what it wrote of the first."""
    files = {
        "withhold/methods/image/simclr.py": "1\n", "withhold/methods/image/moco.py": "1\n",
        "withhold/methods/base.py": "1\n", "withhold/cli/use.py": "1\n", "benchmarks/run.py": SCRIPT,
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path)
    subprocess.run([sys.executable, "benchmarks/run.py", "simclr", "2026-02-02"], cwd=tmp_path, check=True)
    (tmp_path / "benchmarks/results/new/simclr.webp").unlink()
    commit(tmp_path)
    return tmp_path


def commit(root):
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, "commit", "-qm", "more"], cwd=root, check=True)


def test_commands_are_listed_once_the_oldest_first_and_a_claim_by_its_name(project):
    old = {"command": "python benchmarks/run.py moco 2026-01-01", "commit": "0", "date": "2026-01-01"}
    (project / "benchmarks/results/z.json").write_text(json.dumps(old))
    (project / "benchmarks/results/y.json").write_text(json.dumps(old))
    first, *others = repeat.recorded(project)
    assert first == old["command"]
    assert set(others) == {"python benchmarks/run.py simclr 2026-02-02", "python benchmarks/claim.py new/simclr"}


def test_lines_count_where_they_decide_the_numbers(project):
    command = "python benchmarks/run.py simclr 2026-02-02"
    about = repeat.recorded(project)[command]
    for name, lines in (("methods/image/simclr.py", 2), ("methods/image/moco.py", 4), ("cli/use.py", 8)):
        (project / "withhold" / name).write_text("2\n" * lines)
    (project / "withhold/methods/base.py").write_text("2\n" * 16)
    commit(project)
    assert repeat.changed(project, about["commit"], command) == 2 + 16
    assert repeat.changed(project, about["commit"] + "+changes", command) == 2 + 16
    assert repeat.changed(project, about["commit"], "python benchmarks/run.py other") == 2 + 4 + 16
    assert repeat.changed(project, "HEAD", command) == 0
    assert repeat.changed(project, "f" * 40, command) is None


def test_results_come_back_and_pictures_only_where_one_was_kept(project):
    command = "python benchmarks/run.py simclr 2026-03-03"
    assert repeat.repeat(project, command) == 0
    assert command in repeat.recorded(project)
    assert (project / "benchmarks/results/simclr.webp").read_bytes() == b"2026-03-03"
    assert not (project / "benchmarks/results/new/simclr.webp").exists()
    assert repeat.repeat(project, "python benchmarks/run.py fails") == 3


def test_a_text_that_no_command_has_is_named():
    said = subprocess.run([sys.executable, "benchmarks/repeat.py", "no such"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 1
    assert "'no such'" in said.stderr
