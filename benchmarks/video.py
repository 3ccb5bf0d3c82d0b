"""Throughput of decoding videos into the cache, and of reading clips from it.

    python benchmarks/video.py DATA [--rounds 5]     DATA: a folder of videos

Decoding: every file of DATA at 112 pixels into an empty cache. Reading: random batches of 32 clips of 8 frames, as in a
training step. The target is less than 50 milliseconds per batch.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from record import record

from withhold import data

SIZE, FRAMES, CLIPS, TARGET = 112, 8, 32, 50.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of videos")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 20 batches (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WITHHOLD_CACHE"] = folder
        began = time.perf_counter()
        samples = data.load(options.data, "video", size=SIZE, channels=3, frames=FRAMES, fps=15.0)
        cold = len(samples.values) / (time.perf_counter() - began)
        windows, rng = samples.windows(), np.random.default_rng(0)
        spent = []
        for _ in range(20 * options.rounds):
            chosen = rng.integers(len(windows), size=CLIPS)
            began = time.perf_counter()
            batch = windows.batch(chosen)
            spent.append(1000 * (time.perf_counter() - began))
        assert batch.shape == (CLIPS, FRAMES, 3, SIZE, SIZE)
    middle, worst = statistics.median(spent), float(np.quantile(spent, 0.95))
    found = {
        "data": options.data.name, "videos": len(samples), "frames": len(samples.values),
        "frames_per_second_cold": round(cold), "frames_per_second_cached": round(CLIPS * FRAMES * 1000 / middle),
        "milliseconds_a_batch": round(middle, 2), "of_95_in_100_batches_at_most": round(worst, 2), "target": TARGET,
    }  # fmt: skip
    print(found)
    print(record("video", found))


if __name__ == "__main__":
    main()
