"""withhold: self-supervised and semi-supervised learning, from data without labels or with a few.

Withhold a part of the data, let a network predict it from the rest, and keep the network.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from withhold import methods, search
    from withhold.errors import UsageError, WithholdError
    from withhold.exploring import explore
    from withhold.learning import learn
    from withhold.methods import Encoder, ImageEncoder, Method
    from withhold.planning import plan
    from withhold.runs import Embedder, Run, embed, evaluate, label, load, train

__version__ = "0.2.0"

# The module of each public name. They are imported at first use, so that `import withhold` is fast.
_HOMES = {
    **dict.fromkeys(["UsageError", "WithholdError"], "withhold.errors"),
    **dict.fromkeys(["Encoder", "ImageEncoder", "Method"], "withhold.methods"),
    "explore": "withhold.exploring",
    "learn": "withhold.learning",
    "plan": "withhold.planning",
    **dict.fromkeys(["Embedder", "Run", "embed", "evaluate", "label", "load", "train"], "withhold.runs"),
}

__all__ = [
    "Embedder", "Encoder", "ImageEncoder", "Method", "Run", "UsageError", "WithholdError", "embed", "evaluate",
    "explore", "label", "learn", "load", "methods", "plan", "search", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("methods", "search"):  # packages; `methods` can also be called
        return importlib.import_module(f"withhold.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'withhold' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
