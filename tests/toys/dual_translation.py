"""Dual translation: predict the words of each text of a pair from the other text."""

import torch
from torch import nn
from torch.nn import functional as F

from withhold.methods import Count, Method, Optimizer, answers, method
from withhold.nets import TextEncoder

MOST = 8


@method(paper="He et al., NeurIPS 2016 (dual learning)", needs={"pairs": "text + text"}, family="cycle")
class DualTranslation(Method):
    """Withholds each text of a pair from the other; predicts which words it has, there and back.

    Args:
        tokens: in a window.
        tokenizer: "words", "wordpiece:8000" ...; both languages have the same.
    """

    optimizer = Optimizer(lr=1e-2)

    def __init__(self, encoder: TextEncoder, tokens: Count = 32, tokenizer: str = "words"):
        super().__init__(encoder)
        self.there, self.back = (nn.Linear(encoder.dim, encoder.vocabulary) for _ in range(2))

    def withhold(self, pairs):
        """Token numbers [n, l], twice -> these, and which words the other text has, float [n, vocabulary], twice."""
        first, second = pairs
        return (first, second), (self.bag(second), self.bag(first))

    def predict(self, seen):
        first, second = seen
        return self.there(self.encoder(first)), self.back(self.encoder(second))

    def loss(self, predicted, withheld):
        there, back = map(F.binary_cross_entropy_with_logits, predicted, withheld)
        return {"loss": there + back, "there": there, "back": back}

    def bag(self, tokens):
        found = torch.zeros(len(tokens), self.encoder.vocabulary, device=tokens.device)
        return found.scatter_(1, tokens.long(), 1.0) * self.encoder.ordinary

    def apply_to(self, text):
        """A text -> the likeliest "words" of its translation."""
        (scores,) = self.there(self.encoder(self.encoder.take(text))).sigmoid()
        best = scores.topk(min(MOST, len(scores)))
        words = [self.encoder.tokenizer.id_to_token(number) for number in best.indices.tolist()]
        return {"words": answers.Words(list(zip(words, best.values.tolist(), strict=True)))}

    def picture(self, seen, withheld, predicted=None):
        first, second = seen
        columns = {"seen": self.encoder.words(first), "true": self.encoder.words(second)}
        if predicted is not None:
            columns["said"] = self.encoder.words(predicted[0].topk(min(MOST, self.encoder.vocabulary)).indices)
        return columns
