"""Training: fitting, checkpointing and resuming any method."""

from withhold.options import Plan
from withhold.training.best import Best
from withhold.training.journal import Journal, Row
from withhold.training.loop import Outcome, fit
from withhold.training.monitor import findings, gain, rank, spread
from withhold.training.randomness import prepare

__all__ = ["Best", "Journal", "Outcome", "Plan", "Row", "findings", "fit", "gain", "prepare", "rank", "spread"]
