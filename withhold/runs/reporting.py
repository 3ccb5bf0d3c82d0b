"""The report of a run that has ended."""

import logging
import shlex

from withhold.data import Samples
from withhold.report import write as write_report
from withhold.runs.run import Run

log = logging.getLogger("withhold")


def draw_report(run: Run, *streams: Samples) -> None:
    """Write the report; whatever goes wrong is said, and the run is whole without."""
    try:
        write_report(run, *streams)
    except Exception as error:
        log.warning(
            "The report could not be drawn (%s: %s); the run itself is whole. Draw it by: withhold report %s",
            type(error).__name__, error, shlex.quote(str(run.folder)),
        )  # fmt: skip
