"""BERT."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from withhold import views
from withhold.errors import UsageError
from withhold.methods import Count, Fraction, Method, Optimizer, answers, method
from withhold.nets import TextTransformer

SHOWN, ANSWERS = 24, 10  # tokens of a picture, words of an answer


@method(paper="Devlin, Chang, Lee & Toutanova, NAACL 2019", needs={"texts": "text"}, family="reconstruct")
class BERT(Method):
    """Withholds some tokens of two half windows, and whether the second one follows the first; predicts both.

    Most of what is withheld is masked; some stays and some is replaced at random, so that the network cannot rely on
    what it sees. Half of the second halves are another window's. How long they are, or whether they end where a text
    does, would tell which: both windows are cut to the length of the shorter one, and then halved.

    Args:
        share: of the tokens that are predicted.
        tokens: in a window.
        tokenizer: what makes tokens of the text.
    """

    optimizer = Optimizer(lr=2e-3, weight_decay=0.01, betas=(0.9, 0.98))
    compares = True  # half of the second halves are another item's

    def __init__(
        self, encoder: TextTransformer, share: Fraction = 0.15, tokens: Count = 64, tokenizer: str = "wordpiece:8000"
    ):
        super().__init__(encoder)
        self.share = share
        self.head = nn.Sequential(nn.Linear(encoder.dim, encoder.dim), nn.GELU(), nn.LayerNorm(encoder.dim))
        self.bias = nn.Parameter(torch.zeros(encoder.vocabulary))
        self.next = nn.Sequential(nn.Linear(encoder.dim, encoder.dim), nn.Tanh(), nn.Linear(encoder.dim, 1))
        self.register_buffer("known", torch.full((encoder.vocabulary,), -math.log(encoder.vocabulary)))

    def prepare(self, texts):
        """The logarithm of each token's share of the text, from which the predictions start; each counted once more."""
        counts = self.encoder.occurrences(texts).float() + 1
        self.known.copy_((counts / counts.sum()).log())
        self.bias.data.copy_(self.known)

    def withhold(self, texts):
        """Token numbers [n, l] -> (what is left of [CLS] A [SEP] B [SEP], which tokens to predict), both [n, m];
        (these tokens [m], whether B follows A [n]).
        """
        whole, follows = self.pairs(texts)
        mask = self.encoder.special["[MASK]"]
        seen, chosen = views.mask_tokens(whole, self.encoder.ordinary, mask, self.share, self.rng)
        return (seen, chosen), (whole[chosen], follows)

    def pairs(self, texts):
        """Token numbers [n, l] -> [CLS] A [SEP] B [SEP], [n, m], and whether B is the second half to A [n].

        m is three more than the longest row has.
        """
        held = (texts != 0).sum(1)
        texts = texts[:, : int(held.max())].long()
        (n, length), device = texts.shape, texts.device
        # Another row for each: those of a ring in random order have the next one.
        ring = torch.randperm(n, generator=self.rng, device=device)
        other = torch.empty_like(ring).scatter(0, ring, ring.roll(1))
        follows = (torch.rand(n, generator=self.rng, device=device) < 0.5) | (other == torch.arange(n, device=device))
        source = torch.where(follows, torch.arange(n, device=device), other)
        # A row and its other are halved alike, so that B looks as if it were of either where A is not looked at.
        shorter = held.minimum(held[other])
        first = shorter // 2

        place = torch.arange(length + 3, device=device).expand(n, -1)
        end = first[:, None] + 1  # of A, where the first [SEP] is
        last = shorter[:, None] + 2
        a = texts.gather(1, (place - 1).clamp(0, length - 1))
        b = texts[source].gather(1, (place - 2).clamp(0, length - 1))
        whole = a.where(place < end, b).masked_fill(place > last, 0)
        special = self.encoder.special
        whole = whole.masked_fill((place == end) | (place == last), special["[SEP]"])
        return whole.masked_fill(place == 0, special["[CLS]"]), follows

    def predict(self, visible):
        """-> scores of all tokens at the chosen places [m, vocabulary], and of B following A [n]."""
        seen, chosen = visible
        features = self.encoder.maps(seen).transpose(1, 2)
        return F.linear(self.head(features[chosen]), self.encoder.embed.weight, self.bias), self.next(features[:, 0])[
            :, 0
        ]

    def loss(self, predicted, withheld):
        """Both mean cross-entropies; knowing nothing is knowing how often each token occurs."""
        (scores, says), (tokens, follows) = predicted, withheld
        count = max(1, len(tokens))  # of a batch of unknown words, none
        masked = F.cross_entropy(scores, tokens, reduction="sum") / count
        following = F.binary_cross_entropy_with_logits(says, follows.float())
        return {
            "loss": masked + following,
            "masked": masked,
            "perplexity": masked.detach().exp(),
            "accuracy": (scores.argmax(1) == tokens).float().sum() / count,
            "next_accuracy": ((says > 0) == follows).float().mean(),
            "trivial": math.log(2) - self.known[tokens].sum() / count,
        }

    def apply_to(self, text):
        """A text with one [MASK] -> "words" that may stand there, with their probabilities."""
        special = self.encoder.special
        numbers = self.encoder.tokenizer.encode(text, add_special_tokens=False).ids
        if special["[MASK]"] not in numbers:
            raise UsageError(f"{text!r} lacks a word to guess: write [MASK] in its place.")
        seen = torch.tensor([[special["[CLS]"], *numbers, special["[SEP]"]]])
        scores, _ = self.predict((seen, seen == special["[MASK]"]))
        best = scores[0].softmax(0).topk(ANSWERS)
        words = self.encoder.words(best.indices[:, None])
        return {"words": answers.Words(list(zip(words, best.values.tolist(), strict=True)))}

    def picture(self, visible, withheld, predicted=None):
        """The first tokens, and those of them that are predicted."""
        seen, chosen = visible
        tokens, follows = withheld
        columns = {"seen": self.encoder.words(seen[:, :SHOWN]), "true": self.told(chosen, tokens, follows)}
        if predicted is not None:
            columns["said"] = self.told(chosen, predicted[0].argmax(1), predicted[1] > 0)
        return columns

    def told(self, chosen, tokens, follows):
        """Tokens [m] at the chosen places and whether B follows A [n], in words."""
        words = self.encoder.words(
            torch.zeros_like(chosen, dtype=torch.int64).masked_scatter(chosen, tokens)[:, :SHOWN]
        )
        return [f"{word} ({'' if yes else 'not '}next)" for word, yes in zip(words, follows.tolist(), strict=True)]
