"""Evaluation: what frozen features are worth, beside an untrained encoder, raw pixels and a supervised network."""

from withhold.evaluation.features import features, pixels, plain_batches, scores
from withhold.evaluation.protocols import names
from withhold.evaluation.protocols.knn import knn
from withhold.evaluation.table import by_data, evaluate

__all__ = ["by_data", "evaluate", "features", "knn", "names", "pixels", "plain_batches", "scores"]
