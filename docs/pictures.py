"""Take the screenshots of docs/explore.md: the page on photographs of PACS, in Chromium.

WITHHOLD_DATA is the folder of the datasets. A few labels are wrong on purpose, so that the page finds them.

python docs/pictures.py
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from pyarrow import parquet

DOCS = Path(__file__).parent
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
EACH, LABELS, WRONG = 100, 80, 4
"""Photographs per class, labels given in the order of the page's queue, and the number of wrong labels."""


def photographs(table: Path, folder: Path) -> dict[str, str]:
    """Write photographs of each class to one folder; return the class of each file name."""
    found = parquet.read_table(table)
    labels, rng = found["label"].to_numpy(), np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(np.flatnonzero(labels == each))[:EACH] for each in range(len(CLASSES))])
    folder.mkdir()
    truth = {}
    for place, row in enumerate(rng.permutation(rows).tolist()):
        (folder / f"{place:03}.jpg").write_bytes(found["image"][row]["bytes"].as_py())
        truth[f"{place:03}.jpg"] = CLASSES[labels[row]]
    return truth


def label(page: Page, address: str, truth: dict[str, str]) -> None:
    """Label the images in the page's queue, with a few wrong labels among the last twenty."""
    for start in range(0, LABELS, 20):
        asked = page.request.get(f"{address}queue").json()
        labels = [truth[item["name"]] for item in asked]
        if start + 20 == LABELS:
            labels[:WRONG] = [CLASSES[CLASSES.index(each) - 1] for each in labels[:WRONG]]
        body = {"items": [item["item"] for item in asked], "labels": labels}
        page.request.post(f"{address}label", headers={"x-withhold": "1"}, data=json.dumps(body))
        page.wait_for_timeout(5000)


def take(page: Page, name: str) -> None:
    page.wait_for_timeout(3000)  # until images have loaded and points have stopped moving
    Image.open(io.BytesIO(page.screenshot())).save(DOCS / name, quality=70, method=6)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        truth = photographs(Path(os.environ["WITHHOLD_DATA"]) / "pacs" / "photo.parquet", Path(folder) / "photos")
        command = [sys.executable, "-m", "withhold", "explore", "photos", "--json"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
        try:
            address = json.loads(server.stdout.readline())["address"]  # type: ignore[union-attr]
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1360, "height": 860})
            page.set_default_timeout(300_000)
            page.goto(address)
            page.wait_for_selector("body[data-ready]")
            label(page, address.split("?")[0], truth)
            page.reload()
            page.wait_for_selector("body[data-ready]")
            page.select_option("#colour", "answers")
            take(page, "explore.webp")
            page.click("#tab-errors")
            page.wait_for_selector("#strange button")
            take(page, "explore-errors.webp")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
