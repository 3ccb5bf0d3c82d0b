"""Every registered method passes every check of the contract."""

import pytest

from withhold.contract import Trial
from withhold.contract.checks import checks
from withhold.methods import find, names

CASES = [pytest.param(name, check, id=f"{name}-{check.__name__}") for name in names() for check in checks(find(name))]


@pytest.mark.parametrize(("name", "check"), CASES)
def test_a_method_keeps_the_contract(name, check):
    check(Trial(find(name)))
