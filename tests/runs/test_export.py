"""Exported ONNX models work without the library, from the description in the file."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import withhold
from tests.conftest import ROOT
from withhold import outside
from withhold.contract import tiny
from withhold.data.sounds import encode
from withhold.runs import export

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_script_of_others_names_the_same_classes(tmp_path, photos, channels, monkeypatch, caplog):
    """That of the docs, on photos of other sizes: a large JPEG file, one lying on its side, a transparent one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for k, crop in enumerate(photos[:24]):
        image = Image.fromarray(crop).resize((300, 200) if k == 0 else (32 + k, 40))
        exif = Image.Exif()
        exif[0x0112] = 6 if k == 1 else 1
        image = image.convert("RGB" if channels == 3 else "L")
        if k == 5:
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "photos" / f"{k}.{'jpg' if k < 4 else 'png'}", exif=exif)
    rows = (f"{k}.{'jpg' if k < 4 else 'png'},{'ab'[k % 2]}" for k in range(12))
    (tmp_path / "few.csv").write_text("\n".join(["path,label", *rows]))
    run = withhold.train("mixmatch", "photos", labels="few.csv", epochs=1, size=32, batch_size=4, out="run")
    caplog.set_level("INFO")
    assert export(run, "onnx", tmp_path / "named.onnx") < 1e-3
    assert "writing the network as ONNX and comparing it with the trained one" in caplog.messages
    page = (ROOT / "docs" / "elsewhere.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert not re.search(r"import (withhold|torch)", script)
    paths = [f"photos/{row['path']}" for row in run.classify("photos").to_pylist()]
    said = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True).stdout
    expected = zip(run.classify("photos").to_pylist(), run.embed("photos")["embedding"].to_pylist(), strict=True)
    for line, (row, vector) in zip(said.splitlines(), expected, strict=True):
        path, name, share, features = json.loads(line)
        assert path == f"photos/{row['path']}"
        assert name == row["class"]
        assert share == pytest.approx(row["probability"], abs=1e-3)
        np.testing.assert_allclose(features, vector, atol=1e-3)


def test_an_encoder_of_sounds_takes_the_waveform(make_run, tmp_path):
    for k, sound in enumerate(tiny.sounds(1.0).select(range(16)).read(np.arange(16))):
        (tmp_path / "sounds" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sounds" / "ab"[k % 2] / f"{k}.wav").write_bytes(encode(sound, tiny.RATE))
    source, encoder = str(tmp_path / "sounds"), {"name": "audio-cnn", "pretrained": False, "rate": tiny.RATE}
    decoding = {"kinds": {"items": "audio"}, "rate": tiny.RATE, "seconds": 1.0}
    method = str(ROOT / "tests" / "toys" / "prototypes.py")
    outside.trust(method)
    run = make_run(method=method, encoder=encoder, decoding=decoding)
    assert export(run, "onnx", tmp_path / "encoder.onnx") < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    about = json.loads(session.get_modelmeta().custom_metadata_map["withhold"])
    assert about["inputs"][0]["shape"] == ["n", tiny.RATE]
    assert about["decoding"]["rate"] == tiny.RATE
    tone = np.sin(np.arange(tiny.RATE) / 7)
    others = {"short": 9000 * tone[:900], "half": 9000 * tone * (np.arange(tiny.RATE) < 900), "quiet": 3 * tone}
    for name, sound in others.items():
        (tmp_path / "sounds" / "a" / f"{name}.wav").write_bytes(encode(sound.astype(np.int16), tiny.RATE))
    samples = run.load_data(source)
    assert len(samples) == 19
    sounds = samples.read(np.arange(19)).astype(np.float32) / 32768
    (found,) = session.run(["features"], {"sounds": sounds})
    np.testing.assert_allclose(found, np.stack(run.embed(source)["embedding"].to_pylist()), atol=1e-3)
