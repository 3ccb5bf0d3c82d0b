"""Benchmarks that reach into the package, once and small: what changes there must not break them unseen."""

import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import memory


def test_memory_is_measured_over_what_the_cache_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("WITHHOLD_CACHE", str(tmp_path))
    memory.build(2000)
    found = memory.walk(2000)
    assert found["images"] == 2000
    assert found["images_per_second"] > 0
