"""Handmade run folders, to test their readers without training."""

import csv
import json
from dataclasses import asdict

import pytest
import torch

import withhold
from withhold import data
from withhold import methods as registry
from withhold.options import Options
from withhold.runs.build import build_encoder
from withhold.runs.metadata import describe, write_weights
from withhold.runs.run import Run

ROWS = [
    {
        "step": step, "epoch": step / 10, "seconds": step / 2, "loss": 10 / step, "trivial": 1.386,
        "accuracy": step / 20, "items_per_second": 800.0, "waiting": 0.0, "lr": 0.001,
    }
    | ({"rank": 5.0 + step, "spread": 0.8, "knn": 0.5 + step / 50} if step % 10 == 0 else {})
    for step in range(5, 21, 5)
]  # fmt: skip


@pytest.fixture
def make_run(tmp_path):
    """(name, ...) -> a run of rotation on the digits in its own folder, with randomly initialised weights."""

    def make(
        name="run",
        *,
        method="rotation",
        rows=ROWS,
        results=(),
        finished=True,
        channels=1,
        encoder=None,
        decoding=None,
        parameters=None,
        training=None,
        **config,
    ):
        folder = tmp_path / name
        folder.mkdir()
        encoder = encoder or {"name": "convnet", "size": 32, "channels": channels, "pretrained": False}
        config = {
            "withhold": withhold.__version__, "method": method, "parameters": parameters or {}, "encoder": encoder,
            "decoding": decoding or {"size": 32, "channels": channels}, "data": ["digits"], "streams": {},
            "classes": [], "training": asdict(Options(steps=20, epochs=2.0, seed=3, batch_size=16)) | (training or {}),
        } | ({"outcome": {}} if finished else {}) | config  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if rows:
            with open(folder / "metrics.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
                writer.writeheader()
                writer.writerows(rows)
        if results:
            (folder / "evaluation.json").write_text(json.dumps({"results": list(results)}))
        if finished:
            learner = registry.build(
                registry.find(method), build_encoder(config["encoder"], 3), config["parameters"], config
            )
            about = describe(config, type(learner), learner.encoder)
            write_weights(folder / "method.safetensors", learner, about)
            write_weights(folder / "encoder.safetensors", learner.encoder, about)
        return Run(folder)

    return make


@pytest.fixture
def make_samples():
    """(count, channels, labels) -> random samples of 32 px, in three classes unless `labels` says otherwise."""

    def make(count=12, channels=1, labels="three"):
        shape = (count, 32, 32) if channels == 1 else (count, 32, 32, channels)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
        return data.load(images if labels is None else (images, torch.arange(count).numpy() % 3), size=32)

    return make
