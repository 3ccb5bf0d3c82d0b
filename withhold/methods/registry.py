"""Finding methods: a method's name is its file's name, and the file is all there is to it."""

import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from withhold.errors import UsageError, suggestion
from withhold.methods.base import Method
from withhold.methods.classifier import Classifier
from withhold.needs import parse

HERE = Path(__file__).parent
FAMILIES = (
    "reconstruct", "verify", "contrast", "distil", "cluster", "consistency", "cycle", "known inverse", "adapt"
)  # fmt: skip


def method(*, paper: str, needs: dict[str, str], family: str) -> Callable[[type[Method]], type[Method]]:
    """Declare a class as a method.

    Args:
        paper: authors, venue and year.
        needs: what each of its streams holds, in the order in which a person names them: {"images": "image"}; see
            `withhold.needs`.
        family: one of `FAMILIES`.
    """
    if family not in FAMILIES:
        raise UsageError(f"There is no family {family!r}: {suggestion(family, FAMILIES)}")

    def declare(cls: type[Method]) -> type[Method]:
        cls.name = Path(inspect.getfile(cls)).stem
        cls.paper, cls.family = paper, family
        cls.needs = {stream: parse(need) for stream, need in needs.items()}
        return cls

    return declare


def names() -> list[str]:
    """The names of all methods in the library, by folder, then alphabetically."""
    return [path.stem for path in _files()]


def find(name: str) -> type[Method]:
    """The method called `name`, or the one that the Python file at the path `name` declares."""
    if name.endswith(".py"):
        return _from_file(name)
    for path in _files():
        if path.stem == name:
            return _declared(importlib.import_module(f"withhold.methods.{path.parent.name}.{name}"), path)
    raise UsageError(f"There is no method {name!r}: {suggestion(name, names())}")


def parameters(cls: type[Method]) -> dict[str, inspect.Parameter]:
    """A method's configuration: the arguments of its constructor after the encoder, with types resolved.

    The classes that a classifier tells apart are the data's, not a person's to set.
    """
    hints = typing.get_type_hints(cls.__init__)
    arguments = list(inspect.signature(cls.__init__).parameters.values())[3 if issubclass(cls, Classifier) else 2 :]
    return {a.name: a.replace(annotation=hints.get(a.name, Any)) for a in arguments}


def configure(cls: type[Method], values: dict[str, Any]) -> dict[str, Any]:
    """Check `values` against the method's parameters and convert text to their types; the defaults fill the rest.

    Raises:
        UsageError: a name that the method does not have, or a value that is not of its type.
    """
    known = parameters(cls)
    for name in values:
        if name not in known:
            raise UsageError(f"{cls.name} has no parameter {name!r}: {suggestion(name, known)}")
    return {
        name: _convert(cls.name, name, values[name], parameter.annotation) if name in values else parameter.default
        for name, parameter in known.items()
    }


def build(cls: type[Method], encoder: Any, values: dict[str, Any], classes: Sequence[str] = ()) -> Method:
    """The method around `encoder`, with its configuration checked; a classifier tells `classes` apart.

    Raises:
        UsageError: a wrong name or value, an encoder of the wrong kind, or too few classes.
    """
    needed = typing.get_type_hints(cls.__init__).get("encoder")
    if isinstance(needed, type) and not isinstance(encoder, needed):
        raise UsageError(
            f"{cls.name} needs a {needed.__name__}, not a {type(encoder).__name__}: "
            "leave --encoder out, and it takes its default."
        )
    if issubclass(cls, Classifier) and len(classes) < 2:
        raise UsageError(
            f"{cls.name} learns to tell classes apart, and the labels name {len(classes)}: give labels of two or more."
        )
    told = [classes] if issubclass(cls, Classifier) else []
    try:
        return cls(encoder, *told, **configure(cls, values))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{cls.name}: {error}") from error


def card(cls: type[Method]) -> dict[str, Any]:
    """What a person should know of a method, ready for JSON."""
    return {
        "name": cls.name,
        "paper": cls.paper,
        "family": cls.family,
        "needs": {stream: str(need) for stream, need in cls.needs.items()},
        "parameters": {name: parameter.default for name, parameter in parameters(cls).items()},
        "about": inspect.getdoc(cls) or "",
    }


def _files() -> list[Path]:
    return sorted(path for path in HERE.glob("*/*.py") if not path.stem.startswith("_"))


def _from_file(file: str) -> type[Method]:
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"There is no method file {file!r}: give the path of a Python file that declares one.")
    name = f"withhold_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where inspect and pickle look for the class's module
    spec.loader.exec_module(module)
    return _declared(module, path)


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


def _convert(method_name: str, name: str, value: Any, kind: Any) -> Any:
    """`value` as the annotated type `kind`; text such as "0.2", "true" or "none" is parsed."""
    options = typing.get_args(kind)
    origin = typing.get_origin(kind)
    wrong = UsageError(f"{method_name}: {name}={value} is not {_describe(kind)}.")
    if origin is typing.Literal:
        if value in options:
            return value
        raise wrong
    if origin in (types.UnionType, typing.Union):
        if type(None) in options and (value is None or str(value).lower() == "none"):
            return None
        return _convert(method_name, name, value, next(o for o in options if o is not type(None)))
    if kind is bool:
        if str(value).lower() in ("true", "1", "yes"):
            return True
        if str(value).lower() in ("false", "0", "no"):
            return False
        raise wrong
    if kind in (int, float, str):
        try:
            converted = kind(value)
            if kind is int and not isinstance(value, str) and converted != value:
                raise wrong
            return converted
        except (TypeError, ValueError):
            raise wrong from None
    if origin is tuple:
        parts = value.strip("()").split(",") if isinstance(value, str) else list(value)
        if len(parts) != len(options):
            raise wrong
        return tuple(_convert(method_name, name, part, option) for part, option in zip(parts, options, strict=True))
    return value


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    if typing.get_origin(kind) is tuple:
        return f"{len(typing.get_args(kind))} numbers separated by commas"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, f"of type {kind}")
