"""Data of claims: a function per dataset, which returns what is trained on and what is measured on.

Each function takes a `Place`. Datasets are in folders below its root.
"""

from claims.data.domain import bccd, camvid, domains, other_domain, printed_digits, streets, two_hands, weather
from claims.data.image import (
    cifar10,
    columns,
    digits,
    few_images,
    figures,
    halves,
    images,
    letters,
    novel,
    places,
    without_class,
)
from claims.data.place import Place, Split
from claims.data.sound import few_sounds, people, spoken_canvas, spoken_digits
from claims.data.text import ag_news, few_texts, few_topics, wikipedia, wikitext
from claims.data.video import moving_mnist, sequences, videos

__all__ = [
    "Place",
    "Split",
    "ag_news",
    "bccd",
    "camvid",
    "cifar10",
    "columns",
    "digits",
    "domains",
    "few_images",
    "few_sounds",
    "few_texts",
    "few_topics",
    "figures",
    "halves",
    "images",
    "letters",
    "moving_mnist",
    "novel",
    "other_domain",
    "people",
    "places",
    "printed_digits",
    "sequences",
    "spoken_canvas",
    "spoken_digits",
    "streets",
    "two_hands",
    "videos",
    "weather",
    "wikipedia",
    "wikitext",
    "without_class",
]
