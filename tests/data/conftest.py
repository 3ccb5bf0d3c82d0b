import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    """Every test has a cache of its own."""
    monkeypatch.setenv("WITHHOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """What `datasets` writes goes to a folder of the test's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")


@pytest.fixture
def image_folder(tmp_path):
    """A function that makes a folder of random colour PNGs with the given relative paths, and gives their pixels."""

    def make(*names, folder="photos", size=(40, 40), seed=0):
        rng = np.random.default_rng(seed)
        pixels = {}
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels[name] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels[name]).save(path)
        return tmp_path / folder, pixels

    return make
