"""The contract, held to every method that is registered, unasked."""

import pytest

from withhold.contract.checks import Trial, checks
from withhold.methods import find, names

CASES = [pytest.param(name, check, id=f"{name}-{check.__name__}") for name in names() for check in checks(find(name))]


def make(name):
    """A method with its default encoder for a CPU, always with the same weights."""
    return Trial(find(name)).make()


def feed(name, *_):
    """Its tiny data, in batches."""
    return Trial(find(name)).feed()


@pytest.mark.parametrize(("name", "check"), CASES)
def test_a_method_keeps_the_contract(name, check):
    check(Trial(find(name)))
