"""Search: embeddings in an index on disk, the nearest ones to a query, and a page that shows them."""

from withhold.search.index import Index, build
from withhold.search.page import beginnings
from withhold.search.page import write as write_page

__all__ = ["Index", "beginnings", "build", "write_page"]
