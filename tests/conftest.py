"""What tests share: small real data that a dependency carries, and where the larger sets are, if anywhere."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.run_folders import make_run, make_samples  # noqa: F401  (fixtures)

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port on which processes can find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """No test or fixture reads or writes the user's cache, and none uses more than one core."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WITHHOLD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def photos() -> np.ndarray:
    """Colour crops uint8 [256, 32, 32, 3] of scikit-learn's two photographs, in alternation."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    pictures = load_sample_images().images
    crops = []
    for i in range(256):
        picture = pictures[i % 2]
        y, x = (rng.integers(0, extent - 96) for extent in picture.shape[:2])
        crops.append(picture[y : y + 96 : 3, x : x + 96 : 3])
    return np.stack(crops)


@pytest.fixture(scope="session")
def photo_samples(photos):
    """`photos` as samples labelled with the photograph they come from."""
    from withhold import data

    return data.load((photos, np.arange(256) % 2))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with larger public data sets; the test is skipped where there is none."""
    folder = Path(os.environ.get("WITHHOLD_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"WITHHOLD_DATA names no folder of data sets ({folder})")
    return folder
