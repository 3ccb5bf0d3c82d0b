"""Methods, one file each, grouped by the data they learn from. `withhold.methods()` returns their cards."""

import sys
import types
from typing import Any

from withhold.methods import answers
from withhold.methods.balanced import Balance, BalancedTasks
from withhold.methods.base import Batch, Method, Optimizer, accuracy, paired
from withhold.methods.classifier import Classifier, SemiSupervised
from withhold.methods.consistency import ConsistencyTraining, LabelledViews, Mixtures, NoisyViews
from withhold.methods.dense import Dense
from withhold.methods.freezing import Freezing, Stages
from withhold.methods.ranges import (
    Count,
    Fraction,
    Magnitude,
    Natural,
    NonNegative,
    Positive,
    Probability,
    Range,
    Several,
    Share,
    Width,
)  # fmt: skip
from withhold.methods.registry import accepts, build, card, configure, find, method, names, parameters
from withhold.methods.responses import Responses
from withhold.methods.segmenter import Segmenter
from withhold.nets import Encoder, ImageEncoder

__all__ = [
    "Balance", "BalancedTasks", "Batch", "Classifier", "ConsistencyTraining", "Count", "Dense", "Encoder", "Fraction",
    "Freezing", "ImageEncoder", "LabelledViews", "Magnitude", "Method", "Mixtures", "Natural", "NoisyViews",
    "NonNegative", "Optimizer", "Positive", "Probability", "Range", "Responses", "Segmenter", "SemiSupervised",
    "Several", "Share", "Stages", "Width", "accepts", "accuracy", "answers", "build", "card", "configure", "find",
    "method", "names", "paired", "parameters",
]  # fmt: skip


class _Methods(types.ModuleType):
    """The package itself, made callable: `withhold.methods()`."""

    def __call__(self) -> list[dict[str, Any]]:
        """Return the card of every method.

        A card has the name, folder, paper, family, needs, parameters with defaults and allowed values, and description.
        """
        return [card(find(name)) for name in names()]


sys.modules[__name__].__class__ = _Methods
