"""The limit on processor time per test."""

import time

import pytest

from tests.conftest import processor_time


def spin():
    while True:
        pass


def test_processor_time_counts_and_waiting_does_not():
    with processor_time(0.2):
        time.sleep(0.4)
    with pytest.raises(pytest.fail.Exception, match=r"more than 0.1 s of processor time"), processor_time(0.1):
        spin()
