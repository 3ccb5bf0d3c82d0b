"""Nearest-neighbour search: an index of embeddings on disk, queries, and a page of results."""

from withhold.search.index import Index, build
from withhold.search.page import beginnings, order, times
from withhold.search.page import write as write_page
from withhold.search.rows import moment, window_at

__all__ = ["Index", "beginnings", "build", "moment", "order", "times", "window_at", "write_page"]
