"""Active learning: strategies that choose what to label next, a table to fill in, and a page of the chosen items."""

from withhold.labelling.folder import PAGE, TABLE, write
from withhold.labelling.rank import Ranking, rank
from withhold.labelling.strategies import STRATEGIES, Pool

__all__ = ["PAGE", "STRATEGIES", "TABLE", "Pool", "Ranking", "rank", "write"]
