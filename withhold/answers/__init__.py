"""What a trained method gives a person beyond embeddings, and the files that it becomes."""

from withhold.answers.apply import apply

__all__ = ["apply"]
