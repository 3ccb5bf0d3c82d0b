"""The report of a finished run."""

import logging
import shlex

from withhold.data import Samples
from withhold.report import write as write_report
from withhold.runs.run import Run

log = logging.getLogger("withhold")


def draw_report(run: Run, *streams: Samples) -> None:
    """Write the report; an error is only logged, because the run is complete without it."""
    try:
        write_report(run, *streams)
    except Exception as error:
        log.warning(
            "The report could not be written (%s: %s). The run itself is complete. To write it: withhold report %s",
            type(error).__name__, error, shlex.quote(str(run.folder)),
        )  # fmt: skip
