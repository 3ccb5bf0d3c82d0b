"""Speed and memory of the page of `withhold explore` with 100,000 images, in a browser.

The images are small, in twenty groups; the output folder already holds their features and the map. Measured are the
time until the map is painted, frames per second while it moves and zooms, the time to save and answer a label while
the classifier is refitted, the time to choose the next twenty images, and the memory of the server and of the page.
Requires Chromium.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch
from playwright.sync_api import Page, sync_playwright
from record import record

import withhold
from withhold import nets
from withhold.exploring.kept import Kept

SIZE, DIM, GROUPS, LABELS, FRAMES = 16, 256, 20, 100, 150
PAUSE = 0.2
"""Seconds from one label to the next."""
MOVE = """async (frames) => {
  const map = document.querySelector("#marks"), x = map.clientWidth / 2, y = map.clientHeight / 2;
  const frame = () => new Promise(requestAnimationFrame), began = performance.now();
  for (let i = 0; i < frames; i++) {
    if (i % 2) map.dispatchEvent(new WheelEvent("wheel", {deltaY: i % 4 < 2 ? -40 : 40, clientX: x, clientY: y}));
    else map.dispatchEvent(new KeyboardEvent("keydown", {key: i % 4 ? "ArrowLeft" : "ArrowRight"}));
    await frame();
  }
  return 1000 * frames / (performance.now() - began);
}"""
"""Moves and zooms the map a little in each frame; returns the frames per second."""
LABEL = """async ([item, label]) => {
  const began = performance.now();
  await fetch("/label", {method: "POST", headers: {"x-withhold": "1"}, body: JSON.stringify({items: [item], labels: [label]})});
  return performance.now() - began;
}"""  # noqa: E501
"""Returns the milliseconds until the server has saved a label."""
QUEUE = """async () => {
  const began = performance.now();
  await (await fetch("/queue")).json();
  return (performance.now() - began) / 1000;
}"""


def prepare(folder: Path, count: int) -> tuple[Path, np.ndarray]:
    """Write images and an output folder with features and a map. Returns the path of the images and their groups."""
    rng = np.random.default_rng(0)
    groups, source = rng.integers(0, GROUPS, count), folder / "images.npz"
    np.savez(source, images=rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8))
    centres = rng.standard_normal((GROUPS, DIM), dtype=np.float32)
    features = torch.from_numpy(centres[groups] + rng.standard_normal((count, DIM), dtype=np.float32))
    places = rng.uniform(-0.8, 0.8, (GROUPS, 2))[groups] + 0.07 * rng.standard_normal((count, 2))
    run, out = withhold.load("convnet", size=SIZE), folder / "out"
    out.mkdir()
    samples, kept = run.load_data(str(source)), Kept(out)
    samples = samples.select(samples.readable())  # as the page does
    with mock.patch.object(nets, "features", return_value=features):
        kept.features(run, samples)
    kept.keep_places(samples.names, places.clip(-1, 1).astype(np.float32))
    kept.begin("convnet")
    return source, groups


def moved(page: Page) -> dict[str, float]:
    """Frames per second of the map, and the work of the page's own thread per frame."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        found = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
        return found["TaskDuration"]

    before = worked()
    rate = page.evaluate(MOVE, FRAMES)
    return {"frames_per_second": round(rate, 1), "ms_of_work_a_frame": round(1000 * (worked() - before) / FRAMES, 1)}


def measure(page: Page, server: psutil.Process, groups: np.ndarray) -> dict[str, Any]:
    """Times and memory of a painted page for the actions of a user."""
    found: dict[str, Any] = moved(page)
    found["first_queue_seconds"] = round(page.evaluate(QUEUE), 2)
    spent = []
    for item in range(LABELS):
        spent.append(page.evaluate(LABEL, [item, f"group {groups[item]}"]))
        time.sleep(PAUSE)
    found |= {"label_ms": round(float(np.median(spent)), 1), "label_ms_95": round(float(np.percentile(spent, 95)), 1)}
    found["queue_seconds"] = round(page.evaluate(QUEUE), 2)
    heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")
    memory = server.memory_info()
    return found | {
        "server_mb": round((memory.rss - memory.shared) / 1e6),
        "page_mb": round((heap["usedSize"] + heap["backingStorageSize"]) / 1e6),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="number of images (default: %(default)s)")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        source, groups = prepare(folder, options.count)
        command = [sys.executable, "-m", "withhold", "explore", "convnet", str(source), "--size", str(SIZE)]
        begun = time.monotonic()
        server = subprocess.Popen(
            [*command, "--out", str(folder / "out"), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            address = json.loads(server.stdout.readline())["address"]  # type: ignore[union-attr]
            started, process = time.monotonic() - begun, psutil.Process(server.pid)
            worked = sum(process.cpu_times()[:2])
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1360, "height": 860})
            begun = time.monotonic()
            page.goto(address, wait_until="commit")
            page.wait_for_function("() => performance.getEntriesByName('painted').length", timeout=600_000)
            painted = time.monotonic() - begun
            page.wait_for_selector("body[data-ready]", timeout=600_000)
            result = {
                "items": options.count, "dim": DIM, "start_seconds": round(started, 1),
                "start_cpu_seconds": round(worked, 1), "first_paint_seconds": round(painted, 2),
                **measure(page, process, groups),
            }  # fmt: skip
        finally:
            server.kill()
            server.wait()
    print(json.dumps(result, indent=2))
    print(record("explore", result))


if __name__ == "__main__":
    main()
