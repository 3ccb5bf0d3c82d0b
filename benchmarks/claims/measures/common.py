"""What measures return, and measures of any run."""

from typing import Any

import numpy as np
from claims.data import Place, Split

import withhold

Found = dict[str, Any]


def last_row(run: withhold.Run, split: Split, at: Place) -> Found:
    """The last row of the training log, and the number of embedded items."""
    return {"journal": run.rows()[-1], "embedded": run.embed(split.test).num_rows}


def largest_class(run: withhold.Run, split: Split, at: Place) -> Found:
    """The accuracy of always predicting the most frequent class."""
    return {"chance": float(np.bincount(split.test.labels).max() / len(split.test))}
