"""Evaluation of frozen features, compared with a random encoder, raw items and a supervised network."""

from withhold.evaluation.features import plain_batches, scores
from withhold.evaluation.protocols import SEQUENCES, find, names
from withhold.evaluation.protocols.knn import knn
from withhold.evaluation.table import SMALL, by_data, evaluate

__all__ = ["SEQUENCES", "SMALL", "by_data", "evaluate", "find", "knn", "names", "plain_batches", "scores"]
