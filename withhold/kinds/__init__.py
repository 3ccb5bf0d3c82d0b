"""Kinds of data: one object each for display, controls and training. `data` finds and decodes them."""

from withhold.kinds import pixels, sounds, texts  # noqa: F401  (they register themselves)
from withhold.kinds.traits import Input, Traits, of, previews, register

__all__ = ["Input", "Traits", "of", "previews", "register"]
