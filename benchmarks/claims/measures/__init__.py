"""Measures of claims that no protocol has: functions of a run and its data; and controls without a network."""

from claims.measures.common import largest_class, last_row
from claims.measures.generated import frame_errors, likelihood, read_by_another, restored, taught_by_refined
from claims.measures.masks import each_task, entropy_maps
from claims.measures.pretext import (
    class_agreement,
    context_used,
    matches,
    objects_told,
    pairs_told,
    pointing,
    without_a_network,
)
from claims.measures.words import gensim, perplexity, similarity, tfidf

__all__ = [
    "class_agreement",
    "context_used",
    "each_task",
    "entropy_maps",
    "frame_errors",
    "gensim",
    "largest_class",
    "last_row",
    "likelihood",
    "matches",
    "objects_told",
    "pairs_told",
    "perplexity",
    "pointing",
    "read_by_another",
    "restored",
    "similarity",
    "taught_by_refined",
    "tfidf",
    "without_a_network",
]
