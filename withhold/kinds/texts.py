"""Texts."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from withhold import data
from withhold.data.texts import read
from withhold.kinds.traits import Traits, register
from withhold.page import excerpt

LETTERS = 150
MOST_WORDS = 5000


@register
class Text(Traits):
    name, control, length, typed, tile = "text", "tf-idf", "tokens", True, (240, 144)
    alike = True  # per-feature standardisation would make the rarest words dominate
    input = ("texts", ("tokens",), "token ids of the run's tokenizer.json, int64, 0 after the end")
    preparation = (
        "The token ids of the tokenizer (Hugging Face's tokenizers), without special tokens. A text is cut into "
        "adjacent windows of this number of tokens, the last one ending with the text; a shorter text is padded with "
        "zeros. The features of a text are the mean over its windows."
    )

    def raw(self, samples, train=None):
        return tf_idf(samples, train or samples)

    def images(self, samples):
        return 4

    def noise(self, encoder, shape, rng):
        """Texts of all lengths, from a whole window to none, so that padding is covered too."""
        ends = torch.linspace(shape[1], 0, shape[0])[:, None]
        return torch.randint(1, encoder.vocabulary, tuple(shape), generator=rng) * (torch.arange(shape[1]) < ends)

    def items(self, samples, indices, encoder):
        """The texts from their source or, if they are no longer found, decoded from their tokens."""
        found = data.items(samples.source or None, [samples.names[i] for i in indices], self.name)
        words = (encoder.words(torch.tensor(samples.whole(i)[None, :LETTERS]))[0] for i in indices)
        return [text.replace("[UNK]", "…") if item is None else item for item, text in zip(found, words, strict=True)]

    def when(self, start, end):
        return f"tokens {start:.0f}-{end:.0f}"

    def show(self, item):
        return {"text": excerpt(self.words(item), LETTERS)}

    def words(self, item):
        return read(item)


def tf_idf(documents: Any, train: Any) -> Tensor:
    """TF-IDF of the most frequent tokens of `train`, which also gives their document frequencies.

    float32 [n, 5000 at most], rows of length 1, weighted as in scikit-learn's `TfidfTransformer`.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    def counts(series: Any) -> csr_matrix:
        found = [series.whole(row) for row in range(len(series))]
        ends, tokens = np.cumsum([0, *map(len, found)]), np.concatenate(found)
        matrix = csr_matrix((np.ones(len(tokens)), tokens, ends), shape=(len(series), vocabulary))
        matrix.sum_duplicates()
        return matrix

    vocabulary = 1 + max(int(part.values.max()) for part in (documents, train))
    known = counts(train)
    common = np.sort(np.argsort(-known.sum(0).A1, kind="stable")[:MOST_WORDS])
    weights = TfidfTransformer().fit(known[:, common])
    return torch.from_numpy(weights.transform(counts(documents)[:, common]).toarray()).float()
