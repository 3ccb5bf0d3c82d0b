"""The contract: what every method must do, checked on tiny data."""

from withhold.contract.checks import examine
from withhold.contract.trial import Trial

__all__ = ["Trial", "examine"]
