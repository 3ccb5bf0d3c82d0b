"""The contract: what every method must do, checked on tiny data."""

from withhold.contract.checks import Trial, examine

__all__ = ["Trial", "examine"]
