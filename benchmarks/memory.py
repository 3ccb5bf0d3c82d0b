"""Memory of two epochs of batches from 10,000 and from 200,000 cached images of 32 x 32 pixels.

    python benchmarks/memory.py

Each measurement is a process of its own. `private_mb` is the peak of the process's own memory (VmRSS less RssFile),
beyond what it held before it opened the data: this must not grow with the data. (An image costs 24 bytes: its label,
and its place in the order of this epoch and of the last one.)

`mapped_mb` is the part of the cache file that is in memory because it was read, or lies next to what was read. The
system shares these pages between processes and frees them when it needs memory.
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
    """Write random images to the cache, as decoding does."""
    from withhold.data import cache

    rng = np.random.default_rng(0)

    def pieces():
        for start in range(0, count, PIECE):
            pixels = rng.integers(0, 256, (PIECE, SIZE, SIZE, 3), dtype=np.uint8)
            rows = np.arange(start, start + PIECE)
            yield cache.Piece(pixels, rows, [f"folder/{row:08d}.jpg" for row in rows], rows % 10)

    cache.store(str(count), pieces(), {"source": "random", "classes": [str(c) for c in range(10)], "skipped": []})


def walk(count: int) -> dict[str, float]:
    """Run two epochs through the feeder. Memory is in MB, times are in seconds."""
    from withhold import data
    from withhold.data import cache
    from withhold.needs import parse

    # Warm up with the same batches of few images, so that what any first batch allocates is not counted.
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
    """The resident memory of this process in MB: its own, and pages of mapped files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    held = {line[0]: int(line[1]) / 1024 for line in lines if line[0] in ("VmRSS:", "RssFile:")}
    return {"private": held["VmRSS:"] - held["RssFile:"], "mapped": held["RssFile:"]}


def fresh(task: str, count: int) -> str:
    """Run a task of this script in a new process. Returns its output."""
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
