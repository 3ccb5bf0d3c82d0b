"""List the recorded results and how much relevant code changed since, or run their commands again.

    python benchmarks/repeat.py                  list each command that writes a result, the oldest result first
    python benchmarks/repeat.py cifar10-250-uda  run those that contain one of the given texts, one after another

A result in a folder belongs to a claim or control: it is listed as `python benchmarks/claim.py NAME`, whatever command
wrote it. "lines" counts the lines changed since in the code that decides numbers: the package without its command line,
pages and reports, and without methods that are named neither in the command nor, if the command names none, in its
script. A command runs in a fresh clone of HEAD, so you can continue to work and the result names a commit without
changes. Its results are copied into benchmarks/results; pictures only where one exists. WITHHOLD_DATA must name the
folder of datasets.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DECIDES = ("data", "kinds", "views", "nets", "losses", "methods", "training", "evaluation", "search", "runs/build.py")


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def recorded(root: Path) -> dict[str, dict[str, str]]:
    """The commands that write results, the oldest result first, each with its "commit" and "date"."""
    results = root / "benchmarks" / "results"
    found = []
    for path in results.rglob("*.json"):
        about, name = json.loads(path.read_text()), path.relative_to(results).with_suffix("").as_posix()
        command = about["command"] if path.parent == results else f"python benchmarks/claim.py {name}"
        found.append((about["date"], command, about))
    return {command: about for _, command, about in sorted(found, key=lambda row: row[0])}


def changed(root: Path, commit: str, command: str) -> int | None:
    """Changed lines from `commit` to HEAD in the code behind `command`; None if the commit does not exist."""
    paths = [f"withhold/{part}" for part in DECIDES] + [word for word in shlex.split(command) if word.endswith(".py")]
    try:
        table = git(root, "diff", "--numstat", commit.removesuffix("+changes"), "HEAD", "--", *paths)
    except subprocess.CalledProcessError:
        return None
    methods = {path.stem for path in root.glob("withhold/methods/*/*.py")}
    script = (root / shlex.split(command)[1]).read_text()
    used = methods & set(re.findall(r"\w+", command)) or methods & set(re.findall(r"\w+", script))
    lines = 0
    for row in table.splitlines():
        added, deleted, name = row.split("\t")
        path = Path(name)
        other = path.stem in methods - used and path.parts[:2] == ("withhold", "methods")
        lines += 0 if other or added == "-" else max(int(added), int(deleted))
    return lines


def repeat(root: Path, command: str) -> int:
    """Run `command` in a fresh clone, and copy its results to `root`. Returns its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "withhold"
        git(root, "clone", "--quiet", str(root), str(clone))
        words = [os.path.expandvars(word) for word in shlex.split(command)]
        environment = {**os.environ, "PYTHONPATH": str(clone)}
        status = subprocess.run([sys.executable, *words[1:]], cwd=clone, env=environment).returncode
        for line in git(clone, "status", "--porcelain", "-uall", "--", "benchmarks/results").splitlines():
            name = line[3:]
            if name.endswith(".json") or (root / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(clone / name, root / name)
    return status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="run the commands that contain this text")
    options = parser.parse_args()
    known = recorded(ROOT)
    if not options.texts:
        for command, about in known.items():
            lines = changed(ROOT, about["commit"], command)
            print(f"{about['date'][:10]} {'?' if lines is None else lines:>6} lines  {command}")
        return
    chosen = [command for command in known if any(text in command for text in options.texts)]
    if not chosen:
        sys.exit(
            f"No recorded command contains {' or '.join(map(repr, options.texts))}. Run without a text to list them."
        )
    if "WITHHOLD_DATA" not in os.environ and re.search(r"WITHHOLD_DATA|claim\.py", " ".join(chosen)):
        sys.exit("Set WITHHOLD_DATA to the folder of datasets.")
    failed = []
    for command in chosen:
        print(f"== {command}", flush=True)
        if repeat(ROOT, command):
            failed.append(command)
    if failed:
        sys.exit("Failed: " + "; ".join(failed))


if __name__ == "__main__":
    main()
