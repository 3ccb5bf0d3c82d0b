"""Reports: the page of a run with charts, map and galleries, and comparisons of runs."""

from withhold.report.compare import compare, transfer
from withhold.report.look import write_look
from withhold.report.report import write, write_demo

__all__ = ["compare", "transfer", "write", "write_demo", "write_look"]
