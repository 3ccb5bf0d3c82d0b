"""Evaluation: what frozen features are worth, beside an untrained encoder, raw pixels and a supervised network."""

from withhold.evaluation.controls import raw
from withhold.evaluation.features import features, plain_batches, scores
from withhold.evaluation.protocols import names, takes
from withhold.evaluation.protocols.knn import knn
from withhold.evaluation.table import by_data, evaluate, evaluate_sequences

__all__ = [
    "by_data", "evaluate", "evaluate_sequences", "features", "knn", "names", "plain_batches", "raw", "scores", "takes",
]  # fmt: skip
