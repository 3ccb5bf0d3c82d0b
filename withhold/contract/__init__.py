"""The contract: requirements that every method must meet, checked on tiny data."""

from withhold.contract.checks import examine
from withhold.contract.trial import Trial

__all__ = ["Trial", "examine"]
