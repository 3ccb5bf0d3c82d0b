"""Which items to label next: strategies, and a table to fill in with a page that shows what they chose."""

from withhold.labelling.folder import PAGE, TABLE, write
from withhold.labelling.rank import Ranking, rank
from withhold.labelling.strategies import STRATEGIES, Pool

__all__ = ["PAGE", "STRATEGIES", "TABLE", "Pool", "Ranking", "rank", "write"]
