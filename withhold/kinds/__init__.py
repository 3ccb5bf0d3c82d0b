"""Kinds of data to the eye and to controls, one object each; how items are found and decoded is known to `data`."""

from withhold.kinds import audio, image, text, video  # noqa: F401  (which register themselves)
from withhold.kinds.traits import Input, Traits, of, register

__all__ = ["Input", "Traits", "of", "register"]
