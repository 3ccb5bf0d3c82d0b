"""Types and ranges of a method's parameters, which are checked whenever a method is constructed."""

import contextlib
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """The finite numbers that a parameter accepts: `temperature: Annotated[float, Range(above=0)]`.

    Args:
        least, most: inclusive bounds.
        above, below: exclusive bounds.
        multiple: values must be multiples of this number; 0 for no such limit.
    """

    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    below: float = math.inf
    multiple: int = 0

    def __contains__(self, value: float) -> bool:
        inside = self.least <= value <= self.most and self.above < value < self.below
        return inside and not (self.multiple and value % self.multiple)

    def __str__(self) -> str:
        ends = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        words = [f"{word} {end}" for word, end in ends.items() if math.isfinite(end)]
        return " and ".join(words + ([f"a multiple of {self.multiple}"] if self.multiple else []))


Count = Annotated[int, Range(least=1)]
Fraction = Annotated[float, Range(above=0, below=1)]
Magnitude = Annotated[float, Range(least=0, most=30)]
"""The magnitude of the operations of `views.rand_augment`."""
Natural = Annotated[int, Range(least=0)]
NonNegative = Annotated[float, Range(least=0)]
Positive = Annotated[float, Range(above=0)]
Probability = Annotated[float, Range(least=0, most=1)]
Several = Annotated[int, Range(least=2)]
Share = Annotated[float, Range(least=0, below=1)]
Width = Annotated[int, Range(least=32, multiple=32)]
"""Features per token of a transformer, with 32 for each head."""


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that it raises ValueError for values that its annotations do not allow."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs)
        hints = typing.get_type_hints(init, include_extras=True)
        given.arguments |= {n: convert(n, value, hints.get(n, Any)) for n, value in given.arguments.items()}
        init(*given.args, **given.kwargs)

    return wrapper


def convert(name: str, value: Any, kind: Any) -> Any:
    """Convert the `value` of the parameter `name` to the annotated type `kind`. Texts such as "0.2" are parsed.

    Raises:
        ValueError: the value is not of that type, or out of range.
    """
    options, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin is Annotated:
        converted = convert(name, value, options[0])
        for allowed in options[1:]:
            if isinstance(allowed, Range) and converted not in allowed:
                raise _wrong(name, value, allowed)
        return converted
    if origin is typing.Literal:
        if str(value) not in map(str, options):
            raise _wrong(name, value, describe(kind))
        return next(option for option in options if str(option) == str(value))
    if origin in (types.UnionType, typing.Union):
        if type(None) in options and (value is None or str(value).lower() == "none"):
            return None
        others = [option for option in options if option is not type(None)]
        if len(others) == 1:
            return convert(name, value, others[0])
        for option in others:
            with contextlib.suppress(ValueError):
                return convert(name, value, option)
        raise _wrong(name, value, describe(kind))
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if str(value).lower() not in words:
            raise _wrong(name, value, describe(kind))
        return words[str(value).lower()]
    if kind in (int, float, str):
        try:
            converted = kind(value)
        except (OverflowError, TypeError, ValueError):
            raise _wrong(name, value, describe(kind)) from None
        if kind is int and not isinstance(value, str) and converted != value:
            raise _wrong(name, value, describe(kind))
        return converted
    if origin is tuple:
        parts = value.strip("()").split(",") if isinstance(value, str) else list(value)
        if len(parts) != len(options):
            raise _wrong(name, value, describe(kind))
        return tuple(convert(name, part, option) for part, option in zip(parts, options, strict=True))
    return value


def _wrong(name: str, value: Any, allowed: object) -> ValueError:
    return ValueError(f"{name} must be {allowed}, not {value}.")


def describe(kind: Any) -> str:
    """Describe the values of the annotated type `kind` as a part of a sentence: "a number, above 0"."""
    options, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin is Annotated:
        return ", ".join([describe(options[0]), *(str(option) for option in options[1:] if isinstance(option, Range))])
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, options))}" if len(options) > 1 else str(options[0])
    if origin in (types.UnionType, typing.Union):
        return " or ".join("none" if option is type(None) else describe(option) for option in options)
    if origin is tuple:
        return f"{len(options)} numbers separated by commas"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, f"of type {kind}")
