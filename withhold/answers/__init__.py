"""The outputs of a trained method beyond embeddings, and their files."""

from withhold.answers.apply import answer, apply, is_text, only_names
from withhold.answers.files import needed, tables, write
from withhold.answers.style import stylize

__all__ = ["answer", "apply", "is_text", "needed", "only_names", "stylize", "tables", "write"]
