"""Which items to label next: strategies, and the folder that shows what they chose and is filled in."""

from withhold.labelling.rank import Ranking, rank
from withhold.labelling.strategies import STRATEGIES, Pool

__all__ = ["STRATEGIES", "Pool", "Ranking", "rank"]
