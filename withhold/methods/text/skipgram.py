"""Skip-gram with negative sampling (word2vec)."""

import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses
from withhold.methods import Count, Method, Optimizer, Positive, Probability, answers, method
from withhold.nets import WordVectors

BLOCK = 32
"""Consecutive words that share their negatives, and the number of these; a block is scored by matrix products."""


@method(paper="Mikolov, Sutskever, Chen, Corrado & Dean, NIPS 2013", needs={"texts": "text"}, family="contrast")
class SkipGram(Method):
    """Withholds the words around a word; predicts them, among words drawn at random.

    Frequent words are dropped at random before windows are formed, which widens the windows. The width of a window is
    random, so that near words count more. All words of a block share their negatives. These are weighted so that the
    expected gradient is that of `negatives` drawn for every pair, without those that equal the word of the pair.

    Args:
        window: maximum number of words to each side that are predicted; the number is drawn uniformly from 1 to this.
        negatives: number of negatives per pair.
        sample: words that make up more than this share of the text are dropped at random; 1 drops none.
        power: exponent of a word's count in the distribution of negatives; with 0 all words are equally likely.
        tokens: words per window of the stream; pairs do not cross windows.
        tokenizer: the tokenizer of the text.
    """

    optimizer = Optimizer("adagrad", lr=0.6, weight_decay=0.0)

    def __init__(
        self,
        encoder: WordVectors,
        window: Count = 5,
        negatives: Count = 5,
        sample: Positive = 1e-3,
        power: Probability = 0.75,
        tokens: Count = 128,
        tokenizer: str = "words",
    ):
        super().__init__(encoder)
        self.window, self.negatives, self.sample, self.power = window, negatives, sample, power
        encoder.embed.sparse = True  # a step updates only the words of its batch
        self.output = nn.Embedding(encoder.vocabulary, encoder.dim, sparse=True)
        nn.init.zeros_(self.output.weight)
        self.register_buffer("counts", encoder.ordinary.float())

    def prepare(self, texts):
        self.counts.copy_(self.encoder.occurrences(texts))

    def withhold(self, texts):
        """Token numbers [n, l] -> (words [b, 32], nearby words and noise [b, 64 + 2 * window]), weights of both.

        The weights [b, 32, 32 + 2 * window] and [b, 32, 32] are how often each pair occurs in the text, or by chance.
        """
        w, device = self.window, texts.device
        near = F.pad(self.thin(texts), (w, w)).unfold(1, BLOCK + 2 * w, BLOCK).flatten(0, 1)
        filled = near[:, w] > 0
        filled[0] = True  # an empty block if no word is left
        near = near[filled]
        words = near[:, w:-w]
        radius = torch.randint(1, w + 1, words.shape, generator=self.rng, device=device)
        distance = (torch.arange(BLOCK, device=device)[:, None] + w - torch.arange(BLOCK + 2 * w, device=device)).abs()
        close = (distance > 0) & (distance <= radius[:, :, None])
        true = (close & (near > 0)[:, None] & (words > 0)[:, :, None]).float()

        odds = self.counts**self.power * (self.counts > 0)
        drawn = torch.multinomial(odds, len(near) * BLOCK, replacement=True, generator=self.rng)
        noise = drawn.view(-1, BLOCK)
        same = true @ (near[:, :, None] == noise[:, None]).float()  # pairs whose word equals this negative
        chance = (true.sum(2, keepdim=True) - same) * self.negatives / BLOCK
        return (words, torch.cat([near, noise], dim=1)), (true, chance)

    def thin(self, texts):
        """Drop rare, special and some frequent words of token numbers [n, l], and close the gaps: [n, m].

        A word of frequency f is kept with probability sqrt(t / f) + t / f, as in the authors' code. m is a multiple of
        32, and empty places are 0.
        """
        ratio = self.sample * self.counts.sum() / self.counts
        kept = torch.rand(texts.shape, generator=self.rng, device=texts.device) < (ratio.sqrt() + ratio)[texts]
        kept &= self.counts[texts] > 0
        order = (~kept).byte().argsort(dim=1, stable=True)[:, : max(1, int(kept.sum(1).max()))]
        words = (texts * kept).gather(1, order).long()
        return F.pad(words, (0, -words.shape[1] % BLOCK))

    def predict(self, visible):
        """Return the vectors of words [b, 32, d], and of nearby words and noise [b, 64 + 2 * window, d]."""
        words, others = visible
        return self.encoder.embed(words), self.output(others)

    def loss(self, predicted, withheld):
        """-log s(u.v) of pairs and -log s(-u.v) of negatives, averaged over pairs (equation 4 of the paper).

        It starts at (negatives + 1) log 2. "trivial" is the loss of a predictor that knows only the share of true
        pairs.
        """
        vectors, others = predicted
        true, weight = withheld[0], torch.cat(withheld, dim=2)
        pairs = true.sum().clamp(min=1)
        share = true.sum() / weight.sum().clamp(min=1)
        return {
            "loss": losses.negative_sampling(vectors @ others.mT, true, weight) / pairs,
            "trivial": (torch.special.entr(share) + torch.special.entr(1 - share)) * weight.sum() / pairs,
        }

    def apply_to(self, text):
        """Return the "words" nearest to a word, or to a sum such as "king - man + woman", with their cosines."""
        return {"words": answers.Words(self.encoder.nearest(text))}

    def picture(self, visible, withheld, predicted=None):
        """The first word of each block, the words around it, and as many best matches among these and the noise."""
        words, others = visible
        true, chance = (weight[:, 0] > 0 for weight in withheld)
        columns = {
            "seen": self.encoder.words(words[:, :1]),
            "true": self.encoder.words(others[:, : true.shape[1]] * true),
        }
        if predicted is not None:
            apart = ~torch.cat([true, chance], dim=1)  # not scored: far words, padding, the word itself
            scores = (predicted[0][:, :1] @ predicted[1].mT)[:, 0].masked_fill(apart, -torch.inf)
            best = scores.argsort(1, descending=True).argsort(1) < true.sum(1, keepdim=True)
            columns["said"] = self.encoder.words(others * best)
        return columns
