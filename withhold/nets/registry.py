"""The registry of encoders: by name, or by the path of a file that declares one."""

import inspect
import typing
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from torch import nn

from withhold.errors import UsageError, suggestion
from withhold.nets.encoder import Encoder
from withhold.nets.statistics import hold_statistics
from withhold.outside import execute

Builder = Callable[..., Encoder]

_BUILDERS: dict[str, dict[str, Builder]] = {}
"""For each module that declares encoders, their builders by name."""


def register(builder: Any = None, *, name: str = "") -> Any:
    """Register a function or a class that builds an encoder, as `name` or as its own name with hyphens.

    Its arguments without a default are what the encoder must know about its input: (size, channels) for images. If it
    has pretrained weights, it also takes the arguments `pretrained` and `weights`; see `build`. The return annotation
    of a function determines the kind of data; without one, it is "image".
    """
    if builder is None:
        return partial(register, name=name)
    _BUILDERS.setdefault(builder.__module__, {})[name or builder.__name__.replace("_", "-")] = builder
    return builder


_LENT: WeakValueDictionary[str, nn.Module] = WeakValueDictionary()
"""Modules that the user has passed in this process, by the names that `lend` returned."""
_LATEST: dict[str, nn.Module] = {}
"""The latest module of each class, which is kept even if the user does not keep it."""
_NUMBERS: Counter[str] = Counter()
"""How many modules of each class were passed."""


def lend(module: nn.Module) -> str:
    """Register your own module in this process; return a name by which encoders, copies of it, can be built."""
    kind = f"module:{type(module).__name__}"
    known = next((name for name, other in _LENT.items() if other is module), None)
    if known is None:
        _NUMBERS[kind] += 1
        known = f"{kind}#{_NUMBERS[kind]}" if _NUMBERS[kind] > 1 else kind
    _LENT[known] = _LATEST[kind] = module
    return known


def plain(name: str) -> str:
    """The name of an encoder without the number that `lend` gives to further modules of a class in a process."""
    return name.partition("#")[0] if name.startswith("module:") else name


def names() -> list[str]:
    """The names of the library's own encoders."""
    return list(_library())


def takes(name: str) -> tuple[str, ...]:
    """What the encoder called `name` must know about its input: ("size", "channels") for images.

    Raises:
        UsageError: there is no such encoder.
    """
    return _takes(_find(name))


def kind(name: str) -> str:
    """The kind of data of the encoder called `name`, from its class or from what its function returns.

    Raises:
        UsageError: there is no such encoder.
    """
    builder = _find(name)
    builder = builder.func if isinstance(builder, partial) else builder
    made = builder if inspect.isclass(builder) else typing.get_type_hints(builder).get("return")
    return getattr(made, "kind", "image")


def about(name: str) -> str:
    """The first line of the documentation of the encoder called `name`. Raises: UsageError, if there is none."""
    builder = _find(name)
    return (inspect.getdoc(builder.func if isinstance(builder, partial) else builder) or "").partition("\n")[0]


def has_pretrained(name: str) -> bool:
    """Whether the encoder called `name` has pretrained weights. Raises: UsageError, if there is no such encoder."""
    return "pretrained" in inspect.signature(_find(name)).parameters


def pretrained_size(name: str) -> int:
    """Height and width, in pixels, of the images on which the pretrained weights were trained; 0 if unknown.

    Raises:
        UsageError: there is no such encoder.
    """
    library, model = _lender(name)
    return library.size(model) if library else getattr(_find(name), "pretrained_size", 0)


def build(name: str | nn.Module, *, pretrained: bool = False, weights: bool = True, **inputs: Any) -> Encoder:
    """Build the encoder called `name`.

    Args:
        name: one of `names()`; the path of a Python file that declares one with `@register`; `hf:NAME` or `timm:NAME`,
            a model of Transformers (or a local folder of one) or of timm; or a module with a `dim` that maps images to
            [n, dim] or [n, dim, h, w].
        pretrained: start from pretrained weights, which `efficientnet-lite0`, `audio-efficientnet-lite0`, `hf:NAME`
            and `timm:NAME` have. Its batch normalisation then keeps its running statistics.
        weights: whether to load the pretrained weights, or only to build an encoder that they fit.
        inputs: the arguments that `takes(name)` lists.

    Raises:
        UsageError: there is no such encoder, or the images are too small for it.
    """
    if isinstance(name, Encoder):
        return name
    if isinstance(name, nn.Module):
        from withhold.nets.adapters import adapt

        return adapt(name, **inputs)
    builder = _find(name)
    lacking = [field for field in _takes(builder) if field not in inputs]
    if lacking:
        raise UsageError(
            f"{name} is an encoder for other data: these have no {' and no '.join(lacking)}. Leave --encoder out, to "
            "use the method's default."
        )
    offers = "pretrained" in inspect.signature(builder).parameters
    start = {"pretrained": pretrained, "weights": weights} if offers else {}
    if pretrained and not start:
        raise UsageError(
            f"{name} has no pretrained weights. Leave pretrained out, or use efficientnet-lite0 (for sounds "
            "audio-efficientnet-lite0) or a model hf:NAME."
        )
    built = builder(**start, **inputs)
    if pretrained:
        hold_statistics(built)
        built.learned = weights
    if "size" in inputs and inputs["size"] < getattr(built, "stride", 1):
        raise UsageError(f"Images of {inputs['size']} pixels are too small for {name}. Use {built.stride} or more.")
    return built


def _library() -> dict[str, Builder]:
    own = (found for module, found in _BUILDERS.items() if module.startswith(__package__))
    return {name: builder for found in own for name, builder in found.items()}


def _lender(name: str) -> tuple[Any, str]:
    """The module for models of another library, and the name of a model there; None if there is none."""
    from withhold.nets import hub, timm

    library, _, model = name.partition(":")
    return ({"hf": hub, "timm": timm}.get(library) if model else None), model


def _find(name: str) -> Builder:
    """The builder called `name`, one of another library, or the one declared in the Python file `name`."""
    if name.endswith(".py"):
        found = _BUILDERS.pop(execute(name, "encoder").__name__, {})
        if len(found) != 1:
            raise UsageError(f"{name} declares {len(found)} encoders with @register; it must declare exactly one.")
        return next(iter(found.values()))
    if name.startswith("module:"):
        if name not in _LENT:
            kind = plain(name).removeprefix("module:")
            raise UsageError(f"The encoder is a module of class {kind}. Pass that module in Python, as encoder=MODULE.")
        from withhold.nets.adapters import lent

        return partial(lent, _LENT[name])
    library, model = _lender(name)
    if library:
        return library.builder(model)
    if name not in _library():
        raise UsageError(
            f"There is no encoder {name!r}: {suggestion(name, names())} You can also give hf:NAME or timm:NAME, a "
            "Python file that declares an encoder, a run's folder, or its encoder.safetensors."
        )
    return _library()[name]


def _takes(builder: Builder) -> tuple[str, ...]:
    parameters = inspect.signature(builder).parameters.values()
    return tuple(p.name for p in parameters if p.default is p.empty)
