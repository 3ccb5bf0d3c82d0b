"""BERT."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from withhold import views
from withhold.errors import UsageError
from withhold.methods import Count, Fraction, Method, Optimizer, answers, method
from withhold.nets import TextTransformer

SHOWN, ANSWERS = 24, 10  # tokens per row of the report, words that `apply_to` returns


@method(paper="Devlin, Chang, Lee & Toutanova, NAACL 2019", needs={"texts": "text"}, family="reconstruct")
class BERT(Method):
    """Withholds some tokens of two parts of a window, and whether the second one follows the first; predicts both.

    Most withheld tokens are masked. Some stay and some are replaced at random, so that the network cannot rely on the
    visible tokens. Half of the second parts come from another window. To keep their length or the end of a text from
    revealing which, both windows are cut to the length of the shorter one and divided at the same random place. The
    first part may thus be almost the whole window, as it is when a single text is embedded.

    Args:
        share: share of the tokens that are predicted.
        tokens: tokens per window.
        tokenizer: the tokenizer of the text.
    """

    optimizer = Optimizer(lr=2e-3, weight_decay=0.01, betas=(0.9, 0.98))
    compares = True  # half of the second parts come from other windows of the batch

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
        """Store the log frequency of each token, which initialises the output bias; each count is increased by one."""
        counts = self.encoder.occurrences(texts).float() + 1
        self.known.copy_((counts / counts.sum()).log())
        self.bias.data.copy_(self.known)

    def withhold(self, texts):
        """Token numbers [n, l] -> (visible [CLS] A [SEP] B [SEP], mask of tokens to predict), both [n, m]; the targets.

        The targets are the tokens at the masked places, and whether B follows A [n].
        """
        whole, follows = self.pairs(texts)
        mask = self.encoder.special["[MASK]"]
        seen, chosen = views.mask_tokens(whole, self.encoder.ordinary, mask, self.share, self.rng)
        return (seen, chosen), (whole[chosen], follows)

    def pairs(self, texts):
        """Token numbers [n, l] -> [CLS] A [SEP] B [SEP], [n, m], and whether B is the rest of A's row [n].

        m is three more than the length of the longest row.
        """
        held = (texts != 0).sum(1)
        texts = texts[:, : int(held.max())].long()
        (n, length), device = texts.shape, texts.device
        other = views.partners(n, self.rng)
        follows = (torch.rand(n, generator=self.rng, device=device) < 0.5) | (other == torch.arange(n, device=device))
        source = torch.where(follows, torch.arange(n, device=device), other)
        # A row and its other row are divided at the same place, so that B alone does not show which row it is from.
        shorter = held.minimum(held[other])
        share = torch.rand(n, generator=self.rng, device=device)
        first = (1 + share * (shorter - 1)).long().minimum(shorter)  # one token or more, and leaves one or more

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
        """Return scores of all tokens at the chosen places [m, vocabulary], and logits that B follows A [n]."""
        seen, chosen = visible
        features = self.encoder.maps(seen).transpose(1, 2)
        return F.linear(self.head(features[chosen]), self.encoder.embed.weight, self.bias), self.next(features[:, 0])[
            :, 0
        ]

    def loss(self, predicted, withheld):
        """The sum of both mean cross-entropies. "trivial" is the loss of token frequencies and of chance."""
        (scores, says), (tokens, follows) = predicted, withheld
        count = max(1, len(tokens))  # a batch of unknown words has no targets
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
        """Return the "words" that may replace the one [MASK] of a text, with their probabilities."""
        special, most = self.encoder.special, self.encoder.tokens
        numbers = self.encoder.tokenizer.encode(text, add_special_tokens=False).ids
        if numbers.count(special["[MASK]"]) != 1:
            raise UsageError(f"{text!r} must have one word to predict. Write [MASK] in its place.")
        start = min(numbers.index(special["[MASK]"]) - most // 2, len(numbers) - most)
        numbers = numbers[max(0, start) :][:most]  # a long text is cut around it
        seen = torch.tensor([[special["[CLS]"], *numbers, special["[SEP]"]]])
        scores, _ = self.predict((seen, seen == special["[MASK]"]))
        best = scores[0].softmax(0).topk(ANSWERS)
        words = self.encoder.words(best.indices[:, None])
        return {"words": answers.Words(list(zip(words, best.values.tolist(), strict=True)))}

    def picture(self, visible, withheld, predicted=None):
        """The first tokens of each row, and the predicted ones among them."""
        seen, chosen = visible
        tokens, follows = withheld
        columns = {"seen": self.encoder.words(seen[:, :SHOWN]), "true": self.told(chosen, tokens, follows)}
        if predicted is not None:
            columns["said"] = self.told(chosen, predicted[0].argmax(1), predicted[1] > 0)
        return columns

    def told(self, chosen, tokens, follows):
        """Captions of the tokens [m] at the chosen places and of whether B follows A [n]."""
        words = self.encoder.words(
            torch.zeros_like(chosen, dtype=torch.int64).masked_scatter(chosen, tokens)[:, :SHOWN]
        )
        return [f"{word} ({'' if yes else 'not '}next)" for word, yes in zip(words, follows.tolist(), strict=True)]
