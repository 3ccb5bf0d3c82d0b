"""Methods: one file each, grouped by what they learn from."""

from withhold.methods.base import Batch, Method, Optimizer, accuracy
from withhold.methods.registry import build, configure, find, method, names, parameters
from withhold.nets import Encoder

__all__ = [
    "Batch", "Encoder", "Method", "Optimizer", "accuracy", "build", "configure", "find", "method", "names", "parameters"
]  # fmt: skip
