"""Encoders of texts, from token ids to one feature vector per text."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.errors import UsageError, suggestion
from withhold.nets.encoder import Encoder, begins
from withhold.nets.registry import register
from withhold.nets.vit import Transformer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SIGNS = ("+", "-")
DROPPED, SHOWN = 0.1, 24
"""Share of the words that a light view replaces by [UNK], and tokens in a caption."""
LIKELY = 3
"""Special tokens that a method may add to a window, such as [CLS] and two [SEP]."""


class TextEncoder(Encoder):
    """Token ids int [n, l], 0 for padding -> features [n, dim].

    A subclass calls `super().__init__(dim, tokenizer, tokens)` and defines `maps` [n, dim, l].

    Args:
        dim: length of a feature vector.
        tokenizer: the path of a tokenizer.json, whose first token is the padding.
        tokens: tokens in a window; None takes whole texts.

    Attributes:
        tokenizer: the tokenizer.
        vocabulary: the number of its tokens.
        special: the ids of [PAD], [UNK], [CLS], [SEP] and [MASK].
        ordinary: bool [vocabulary], true for all other tokens.
    """

    kind = "text"
    default = "word-vectors"  # it trains on a CPU and from few texts
    ordinary: Tensor

    def __init__(self, dim: int, tokenizer: str, tokens: int | None = None):
        super().__init__(dim)
        from tokenizers import Tokenizer

        self.tokens = tokens
        self.tokenizer = Tokenizer.from_file(tokenizer)
        self.vocabulary = self.tokenizer.get_vocab_size()
        self.special = {token: self.tokenizer.token_to_id(token) for token in SPECIAL}
        self.register_buffer("ordinary", torch.ones(self.vocabulary, dtype=torch.bool), persistent=False)
        self.ordinary[list(self.special.values())] = False

    def take(self, item):
        """A text -> its token ids [1, l], not cut."""
        return torch.tensor([self.tokenizer.encode(item, add_special_tokens=False).ids], dtype=torch.int64)

    def cut(self, item):
        """A text -> its windows [n, tokens], cut as for training; a short text is one window [1, l]."""
        ids = self.take(item)[0]
        longest = max(1, len(ids))
        span = min(self.span or self.tokens or longest, longest)
        return torch.stack([ids[begin : begin + span] for begin in begins(len(ids), span)])

    def light_view(self, items, rng, flip=0.0):
        """Token ids [n, l] with one in ten replaced by [UNK] (word dropout: Iyyer et al., ACL 2015)."""
        dropped = torch.rand(items.shape, generator=rng, device=items.device) < DROPPED
        return items.masked_fill(dropped & self.ordinary[items], self.special["[UNK]"])

    def draw(self, items):
        """The first words of each text."""
        return self.words(items[:, :SHOWN])

    def counts(self, tokens: Tensor) -> Tensor:
        """The positions [n, l] over which the features of a text are averaged: by default all but padding."""
        return tokens != 0

    def attended(self, tokens: Tensor) -> Tensor:
        """The positions [n, l] to attend to; all for a text in which none counts, because that would give NaN."""
        seen = self.counts(tokens)
        return seen | ~seen.any(1, keepdim=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids [n, l] -> features [n, dim]; zero for texts in which no position counts."""
        weights = self.counts(tokens).to(self.ordinary.device).float()
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("ndl,nl->nd", self.maps(tokens), weights)

    def occurrences(self, texts: Any) -> Tensor:
        """How often each token occurs in the documents of a stream, `texts.items`; int64, 0 for special tokens."""
        return self._count(texts.items, lambda tokens: tokens)

    def spread(self, texts: Any) -> Tensor:
        """In how many documents of a stream each token occurs; int64, 0 for special tokens."""
        return self._count(texts.items, torch.unique)

    def _count(self, documents: Any, counted: Callable[[Tensor], Tensor]) -> Tensor:
        counts = torch.zeros(self.vocabulary, dtype=torch.int64)
        for part in torch.arange(len(documents)).split(1024):
            found = [counted(torch.tensor(documents.whole(row))) for row in part.tolist()]
            counts += torch.cat(found).bincount(minlength=self.vocabulary)
        return counts.to(self.ordinary.device) * self.ordinary

    def words(self, tokens: Tensor) -> list[str]:
        """Token ids [n, l] -> their texts, without padding."""
        rows = [[str(self.tokenizer.id_to_token(number)) for number in row if number] for row in tokens.tolist()]
        return [" ".join(row).replace(" ##", "") for row in rows]


class TextTransformer(TextEncoder):
    """A pre-norm transformer over tokens with learned positions and two segments (Devlin et al., 2019).

    No token attends to padding. The tokens after the first [SEP] are the second segment.

    Args:
        dim: length of a token's embedding, a multiple of `heads`.
        depth, heads: number of blocks, and of attention heads in a block.
        tokens: tokens in a window; there is room for three more, such as [CLS] and two [SEP].
    """

    default = "text-transformer"

    def __init__(self, dim: int, depth: int, heads: int, tokenizer: str, tokens: int):
        super().__init__(dim, tokenizer, tokens)
        self.embed = nn.Embedding(self.vocabulary, dim)
        self.positions = nn.Parameter(torch.empty(tokens + LIKELY, dim))
        self.segments = nn.Embedding(2, dim)
        for weight in (self.embed.weight, self.positions, self.segments.weight):
            nn.init.normal_(weight, std=0.02)
        self.norm = nn.LayerNorm(dim)
        self.transformer = Transformer(dim, depth, heads)

    def maps(self, tokens):
        most = len(self.positions)
        if tokens.shape[1] > most:
            raise ValueError(f"A window has at most {most} tokens, not {tokens.shape[1]}. Use shorter windows.")
        ends = (tokens == self.special["[SEP]"]).long()
        second = (ends.cumsum(1) - ends).clamp(max=1)
        embedded = self.embed(tokens) + self.positions[: tokens.shape[1]] + self.segments(second)
        return self.transformer(self.norm(embedded), self.attended(tokens)[:, None, None]).transpose(1, 2)

    def stages(self):
        first = [self.embed, self.positions, self.segments, self.norm]
        return [first, *([block] for block in self.transformer.blocks), [self.transformer.norm]]


class WordVectors(TextEncoder):
    """A vector for every word; the features of a text are the mean over its known words."""

    def __init__(self, dim: int, tokenizer: str):
        super().__init__(dim, tokenizer)
        self.embed = nn.Embedding(self.vocabulary, dim)
        nn.init.uniform_(self.embed.weight, -0.5 / dim, 0.5 / dim)

    def maps(self, tokens):
        return self.embed(tokens).transpose(1, 2)

    def counts(self, tokens):
        return self.ordinary[tokens]

    def nearest(self, text: str, most: int = 10) -> list[tuple[str, float]]:
        """The nearest words to a word, or to a sum such as "king - man + woman", with their cosine similarities.

        The sum is over unit vectors (3CosAdd: Mikolov, Yih & Zweig, NAACL 2013). The words of `text` are excluded.

        Raises:
            UsageError: a word is not in the vocabulary, or no word follows a sign.
        """
        parts = text.split()
        signs = [part in SIGNS for part in parts]
        if not signs or signs[-1] or any(first and second for first, second in pairwise(signs)):
            raise UsageError(f"{text!r} is not a sum of words. Write it as in 'king - man + woman'.")
        vectors = F.normalize(self.embed.weight, dim=1)
        asked, total, sign = [], torch.zeros_like(vectors[0]), 1
        for word in parts:
            if word in SIGNS:
                sign = -1 if word == "-" else 1
            else:
                asked.append(self.number(word))
                total, sign = total + sign * vectors[asked[-1]], 1
        cosines = vectors @ F.normalize(total, dim=0)
        cosines[~self.ordinary] = cosines[asked] = -torch.inf
        best = cosines.topk(min(most, int(cosines.isfinite().sum())))
        words = [str(self.tokenizer.id_to_token(number)) for number in best.indices.tolist()]
        return list(zip(words, best.values.tolist(), strict=True))

    def number(self, word: str) -> int:
        """The id of a word. Raises: UsageError, if it is not in the vocabulary."""
        numbers = self.tokenizer.encode(word, add_special_tokens=False).ids
        if len(numbers) != 1 or not self.ordinary[numbers[0]]:
            near = suggestion(word, self.tokenizer.get_vocab())
            way_out = near if near.startswith("did") else "use a word that occurs several times in the training texts."
            raise UsageError(f"The vocabulary has no {word!r}: {way_out}")
        return numbers[0]


@register
def text_transformer(tokenizer: str, tokens: int) -> TextEncoder:
    """192 features and four blocks, small enough to train on a CPU."""
    return TextTransformer(dim=192, depth=4, heads=3, tokenizer=tokenizer, tokens=tokens)


@register
def word_vectors(tokenizer: str) -> TextEncoder:
    """100 features: the mean of the vectors of the words."""
    return WordVectors(dim=100, tokenizer=tokenizer)
