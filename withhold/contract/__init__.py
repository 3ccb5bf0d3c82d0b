"""The contract: what every method must do, checked on tiny data."""

from withhold.contract.checks import Trial, checks, examine

__all__ = ["Trial", "checks", "examine"]
