"""Record the result of a benchmark, with its command, date, commit and machine: `benchmarks/results/NAME.json`."""

import datetime
import json
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import withhold
from withhold.runs import preview

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def record(name: str, result: dict[str, Any], run: withhold.Run | None = None, *streams: Any) -> Path:
    """Write `result` to results/NAME.json with its command, date (UTC), commit and machine. Returns the file's path.

    The commit ends in "+changes" if the code differs from it. For a run, its inputs and predictions on `streams` (by
    default those of its training) are drawn to results/NAME.webp.
    """
    about = {
        "command": _command(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": COMMIT,
        "machine": machine(),
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if run is not None:
        path.with_suffix(".webp").unlink(missing_ok=True)
        preview(str(run.folder), *streams, out=path.with_suffix(".webp"))
    text = json.dumps({**about, "result": result}, indent=2)
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/[^/\"]+", "FOLDER", text)  # temporary files of this run
    data = os.environ.get("WITHHOLD_DATA")  # the folder of datasets, whatever the machine
    text = text.replace(data, "$WITHHOLD_DATA") if data else text
    path.write_text(text.replace(f"{ROOT}/", "") + "\n")
    return path


def cpu_minutes() -> float:
    """The processor time of this process in minutes. Unlike wall time, it does not count other processes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) / 60


def _command() -> str:
    """The command in a form that can be repeated: paths outside the folder of datasets become file names."""
    data = os.environ.get("WITHHOLD_DATA", str(ROOT))
    words = [Path(word).name if os.path.isabs(word) and not word.startswith(data) else word for word in sys.argv[1:]]
    return shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *words])


def machine() -> dict[str, Any]:
    """The processor, the cores available to this process, its threads, the GPU if any, and the versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # a copy without git history
        return ""


CHANGED = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
COMMIT = _git("rev-parse", "HEAD") + ("+changes" if CHANGED else "")
"""The commit of the code when the benchmark started; new results do not count as changes."""
