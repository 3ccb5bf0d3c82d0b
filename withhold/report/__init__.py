"""What a person looks at: the report of a run, its charts, maps and galleries; runs side by side."""

from withhold.report.compare import compare, transfer
from withhold.report.look import write_look
from withhold.report.report import write, write_demo

__all__ = ["compare", "transfer", "write", "write_demo", "write_look"]
