"""Shared fixtures: small real data from a dependency, and the location of larger datasets, if they are available."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.run_folders import make_run, make_samples  # noqa: F401  (fixtures)
from withhold.contract import tiny
from withhold.data import Samples

ROOT = Path(__file__).parent.parent
LIMIT = 300
"""Seconds of processor time for a test."""


def free_port() -> int:
    """A free port for communication between processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """No test or fixture reads or writes the user's cache or state, uses the network or more than one core.

    All processors train in the precision that all of them have.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WITHHOLD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        for asked in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            patch.setattr(torch.cpu, asked, lambda: False)
        yield


@contextlib.contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Fail if the block takes more than this processor time, which does not depend on the load of the machine."""

    def fail(*_) -> None:
        pytest.fail(f"It took more than {seconds} s of processor time.")

    signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@pytest.fixture(autouse=True)
def limit():
    """No test runs for longer than `LIMIT`; the timeout in pyproject.toml ends tests that hang."""
    with processor_time(LIMIT):
        yield


@pytest.fixture(scope="session")
def photos() -> np.ndarray:
    """Colour crops uint8 [256, 32, 32, 3] of scikit-learn's two photographs, in alternation."""
    return tiny.photographs().array


@pytest.fixture(scope="session")
def photo_samples() -> Samples:
    """`photos` as samples labelled with the photograph they come from."""
    return tiny.photographs()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with larger public datasets; the test is skipped if there is none."""
    folder = Path(os.environ.get("WITHHOLD_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"WITHHOLD_DATA names no folder of data sets ({folder})")
    return folder
