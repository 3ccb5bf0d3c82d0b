"""What kinds of data are to the eye and to controls, one object each; `data` knows how they are found and decoded."""

from withhold.kinds import pixels, sounds, texts  # noqa: F401  (which register themselves)
from withhold.kinds.traits import Input, Traits, of, previews, register

__all__ = ["Input", "Traits", "of", "previews", "register"]
