"""The registry of methods: a method is named after its file, and needs no other registration."""

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from withhold.errors import UsageError, suggestion
from withhold.methods.base import Method
from withhold.methods.ranges import checked, convert, describe
from withhold.needs import parse
from withhold.outside import execute

HERE = Path(__file__).parent
FAMILIES = (
    "reconstruct", "verify", "contrast", "distil", "cluster", "consistency", "cycle", "known inverse", "adapt",
    "supervised",
)  # fmt: skip
TOLD = ("classes", "targets")
"""Constructor arguments that come from the data: the names of the classes, in the order of their numbers; and for each
further column, by name, the names of its classes, or None if it holds numbers."""


def method(*, paper: str, needs: dict[str, str], family: str) -> Callable[[type[Method]], type[Method]]:
    """Declare a class as a method.

    Args:
        paper: authors, venue and year.
        needs: the kind of data of each stream, in the order in which sources are given: {"images": "image"}; see
            `withhold.needs`.
        family: one of `FAMILIES`.
    """
    if family not in FAMILIES:
        raise UsageError(f"There is no family {family!r}: {suggestion(family, FAMILIES)}")

    def declare(cls: type[Method]) -> type[Method]:
        cls.name = Path(inspect.getfile(cls)).stem
        cls.paper, cls.family = paper, family
        cls.needs = {stream: parse(need) for stream, need in needs.items()}
        cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]
        return cls

    return declare


def names() -> list[str]:
    """The names of all built-in methods, by folder, then alphabetically."""
    return [path.stem for path in _files()]


def find(name: str) -> type[Method]:
    """Return the method called `name`, or the method that the Python file at the path `name` declares."""
    if name.endswith(".py"):
        return _declared(execute(name, "method"), Path(name))
    for path in _files():
        if path.stem == name:
            return _declared(importlib.import_module(f"withhold.methods.{path.parent.name}.{name}"), path)
    raise UsageError(f"There is no method {name!r}: {suggestion(name, names())}")


def parameters(cls: type[Method]) -> dict[str, inspect.Parameter]:
    """A method's configuration: the arguments of its constructor after the encoder, with types resolved.

    The arguments in `TOLD`, which come from the data, are left out.
    """
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    arguments = list(inspect.signature(cls.__init__).parameters.values())[2:]
    return {a.name: a.replace(annotation=hints.get(a.name, Any)) for a in arguments if a.name not in TOLD}


def configure(cls: type[Method], values: dict[str, Any]) -> dict[str, Any]:
    """Check `values` against the method's parameters, convert texts to their types, and fill in the defaults.

    Raises:
        UsageError: an unknown name, or a value of the wrong type or out of range.
    """
    known = parameters(cls)
    for name in values:
        if name not in known:
            raise UsageError(f"{cls.name} has no parameter {name!r}: {suggestion(name, known)}")
    try:
        return {
            name: convert(name, values[name], parameter.annotation) if name in values else parameter.default
            for name, parameter in known.items()
        }
    except ValueError as error:
        raise UsageError(f"{cls.name}: {error}") from error


def accepts(cls: type[Method], encoder: Any) -> bool:
    """Whether the method can be built around `encoder`."""
    needed = _encoder(cls)
    return not isinstance(needed, type) or isinstance(encoder, needed)


def _encoder(cls: type[Method]) -> Any:
    """The class of the encoders that the method takes; None if it does not declare one."""
    return typing.get_type_hints(cls.__init__).get("encoder")


def build(cls: type[Method], encoder: Any, values: dict[str, Any], told: Mapping[str, Any] | None = None) -> Method:
    """Construct the method around `encoder` after checking its configuration.

    Args:
        told: the arguments in `TOLD`, from the data; the constructor gets those that it takes.

    Raises:
        UsageError: a wrong name or value, an encoder of the wrong kind, too few classes, or no columns.
    """
    if not accepts(cls, encoder):
        raise UsageError(
            f"{cls.name} takes an encoder of the class {_encoder(cls).__name__}, not {type(encoder).__name__}. "
            "Leave out --encoder to use the default."
        )
    asked = {name: (told or {}).get(name, ()) for name in inspect.signature(cls.__init__).parameters if name in TOLD}
    if "classes" in asked and len(asked["classes"]) < cls.fewest_classes:
        raise UsageError(
            f"{cls.name} needs labels of {'two or more classes' if cls.fewest_classes > 1 else 'a class'}, but there "
            f"{'is only one' if asked['classes'] else 'are none'}."
        )
    if "targets" in asked and not asked["targets"]:
        raise UsageError(f"{cls.name} learns the columns of a table, but the data have none. Give a table with some.")
    try:
        return cls(encoder, **asked, **configure(cls, values))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{cls.name}: {error}") from error


def card(cls: type[Method]) -> dict[str, Any]:
    """The description of a method, ready for JSON."""
    return {
        "name": cls.name,
        "folder": cls.__module__.split(".")[-2] if cls.__module__.startswith(__package__) else "",
        "paper": cls.paper,
        "family": cls.family,
        "needs": {stream: str(need) for stream, need in cls.needs.items()},
        "parameters": {name: parameter.default for name, parameter in parameters(cls).items()},
        "values": {name: describe(parameter.annotation) for name, parameter in parameters(cls).items()},
        "about": inspect.getdoc(cls) or "",
    }


def _files() -> list[Path]:
    return sorted(path for path in HERE.glob("*/*.py") if not path.stem.startswith("_"))


def _declared(module: types.ModuleType, path: Path) -> type[Method]:
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
        and "needs" in vars(value)
    ]
    if len(found) != 1:
        raise UsageError(
            f"{path} declares {len(found)} methods with @method(...); a method's file declares exactly one."
        )
    return found[0]
