"""Does memory grow with the data? Two epochs of batches from 10,000 and from 200,000 cached images of 32 x 32 pixels.

    python benchmarks/memory.py

Each walk is a process of its own. `private_mb` is what the process holds for itself (VmRSS less RssFile) at its peak,
beyond what it held before it opened the data: that is what must not grow with the data. (An image costs 24 bytes: its
label, and its place in this epoch's order and in the last one's.)

`mapped_mb` is the part of the cache's file that is in memory because it was touched, or lay beside what was: the system
shares these pages between processes, and takes them back when it needs them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

COUNTS = (10_000, 200_000)
SIZE, BATCH, EPOCHS, PIECE = 32, 256, 2, 1000


def build(count: int) -> None:
    """Write random images straight through the cache, as decoding would."""
    from withhold.data import cache

    rng = np.random.default_rng(0)

    def pieces():
        for start in range(0, count, PIECE):
            pixels = rng.integers(0, 256, (PIECE, SIZE, SIZE, 3), dtype=np.uint8)
            rows = np.arange(start, start + PIECE)
            yield cache.Piece(pixels, rows, [f"folder/{row:08d}.jpg" for row in rows], rows % 10)

    cache.store(str(count), pieces(), {"source": "random", "classes": [str(c) for c in range(10)], "skipped": []})


def walk(count: int) -> dict[str, float]:
    """Two epochs through the feeder; memory in MB, times in seconds."""
    from withhold import data
    from withhold.data import cache
    from withhold.needs import parse

    # A feeder of the same batches on few images, so that what any first batch allocates is there already.
    warm = data.load(np.zeros((2 * BATCH, SIZE, SIZE, 3), np.uint8))
    for _ in data.Feeder({"images": warm}, {"images": parse("image")}, BATCH, seed=0).iterate(0, 20):
        pass
    before = memory()
    peak = dict(before)
    start = time.perf_counter()
    held = cache.find(str(count))
    samples = data.Samples(held.values, **held.about)
    feeder = data.Feeder({"images": samples}, {"images": parse("image")}, BATCH, seed=0)
    first = None
    images = 0
    for batch in feeder.iterate(0, EPOCHS * feeder.steps_per_epoch):
        first = first or time.perf_counter() - start
        images += len(batch["images"])
        now = memory()
        peak = {key: max(peak[key], now[key]) for key in peak}
    seconds = time.perf_counter() - start
    return {
        "images": count,
        "private_mb": round(peak["private"] - before["private"], 1),
        "mapped_mb": round(peak["mapped"] - before["mapped"], 1),
        "peak_rss_mb": round(peak["private"] + peak["mapped"], 1),
        "first_batch_seconds": round(first, 4),
        "images_per_second": round(images / seconds),
    }


def memory() -> dict[str, float]:
    """This process's resident memory in MB: its own, and pages of mapped files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    held = {line[0]: int(line[1]) / 1024 for line in lines if line[0] in ("VmRSS:", "RssFile:")}
    return {"private": held["VmRSS:"] - held["RssFile:"], "mapped": held["RssFile:"]}


def fresh(task: str, count: int) -> str:
    """Run a task of this script in a process of its own; gives what it printed."""
    command = [sys.executable, __file__, task, str(count)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from record import record

    with tempfile.TemporaryDirectory() as folder:
        os.environ["WITHHOLD_CACHE"] = folder
        rows = []
        for count in COUNTS:
            fresh("build", count)
            rows.append(json.loads(fresh("walk", count)))
            print(rows[-1])
    print(record("memory", {"pixels": SIZE, "batch": BATCH, "epochs": EPOCHS, "walks": rows}))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps({"build": build, "walk": walk}[sys.argv[1]](int(sys.argv[2]))))
    else:
        main()
