"""Learning from a folder and a few labels: which way from these to a classifier is worth it."""

from withhold.learning.walk import learn

__all__ = ["learn"]
