"""Skip-gram with negative sampling (word2vec)."""

import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses
from withhold.methods import Count, Method, Optimizer, Positive, answers, method
from withhold.nets import WordVectors

BLOCK = 32
"""Words in a row that share their negatives, as many of them; matrix products do the rest."""


@method(paper="Mikolov, Sutskever, Chen, Corrado & Dean, NIPS 2013", needs={"texts": "text"}, family="contrast")
class SkipGram(Method):
    """Withholds the words around a word; predicts them, among words drawn at random.

    Frequent words are left out at random before there are windows, which widens them. A window is narrower at random,
    so that near words count more. The negatives of a word are those of its whole block, with the weight that makes
    their expected gradient that of `negatives` drawn for every pair, of which those that are its word do not count.

    Args:
        window: words to each side that are predicted at most; how many is drawn from 1 to this, evenly.
        negatives: how many random words a pair is told from.
        sample: share of the text above which a word is left out at random; 1 leaves out none.
        power: of a word's count, for how often it is a negative.
        tokens: in a window of the stream, which pairs do not cross.
        tokenizer: what makes words of the text.
    """

    optimizer = Optimizer("adagrad", lr=0.6, weight_decay=0.0)

    def __init__(
        self,
        encoder: WordVectors,
        window: Count = 5,
        negatives: Count = 5,
        sample: Positive = 1e-3,
        power: float = 0.75,
        tokens: Count = 128,
        tokenizer: str = "words",
    ):
        super().__init__(encoder)
        self.window, self.negatives, self.sample, self.power = window, negatives, sample, power
        encoder.embed.sparse = True  # a step touches the words of its batch, and no others
        self.output = nn.Embedding(encoder.vocabulary, encoder.dim, sparse=True)
        nn.init.zeros_(self.output.weight)
        self.register_buffer("counts", encoder.ordinary.float())

    def prepare(self, texts):
        self.counts.copy_(self.encoder.occurrences(texts))

    def withhold(self, texts):
        """Token numbers [n, l] -> (words [b, 32], words near them and noise [b, 64 + 2 * window]), weights of both.

        The weights [b, 32, 32 + 2 * window] and [b, 32, 32] say how often each pair occurs in the text, or by chance.
        """
        w, device = self.window, texts.device
        near = F.pad(self.thin(texts), (w, w)).unfold(1, BLOCK + 2 * w, BLOCK).flatten(0, 1)
        filled = near[:, w] > 0
        filled[0] = True  # where no word is left, an empty block
        near = near[filled]
        words = near[:, w:-w]
        radius = torch.randint(1, w + 1, words.shape, generator=self.rng, device=device)
        distance = (torch.arange(BLOCK, device=device)[:, None] + w - torch.arange(BLOCK + 2 * w, device=device)).abs()
        close = (distance > 0) & (distance <= radius[:, :, None])
        true = (close & (near > 0)[:, None] & (words > 0)[:, :, None]).float()

        drawn = torch.multinomial(self.counts**self.power, len(near) * BLOCK, replacement=True, generator=self.rng)
        noise = drawn.view(-1, BLOCK)
        same = true @ (near[:, :, None] == noise[:, None]).float()  # pairs whose word this negative would be
        chance = (true.sum(2, keepdim=True) - same) * self.negatives / BLOCK
        return (words, torch.cat([near, noise], dim=1)), (true, chance)

    def thin(self, texts):
        """What is left of token numbers [n, l] without rare, special and some frequent words: [n, m], moved together.

        A word of frequency f stays with probability sqrt(t / f) + t / f, as in the authors' code; m is a multiple of
        32, and what is empty is 0.
        """
        ratio = self.sample * self.counts.sum() / self.counts
        kept = torch.rand(texts.shape, generator=self.rng, device=texts.device) < (ratio.sqrt() + ratio)[texts]
        kept &= self.counts[texts] > 0
        order = (~kept).byte().argsort(dim=1, stable=True)[:, : max(1, int(kept.sum(1).max()))]
        words = (texts * kept).gather(1, order).long()
        return F.pad(words, (0, -words.shape[1] % BLOCK))

    def predict(self, visible):
        """Vectors of words [b, 32, d], and of what they are to be told from noise [b, 64 + 2 * window, d]."""
        words, others = visible
        return self.encoder.embed(words), self.output(others)

    def loss(self, predicted, withheld):
        """-log s(u.v) of pairs and -log s(-u.v) of negatives, a mean over pairs (equation 4 of the paper).

        It starts at (negatives + 1) log 2. Knowing nothing is knowing which share of all that is scored are pairs.
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
        """The "words" nearest to another, or to a sum such as "king - man + woman", with their cosines."""
        return {"words": answers.Words(self.encoder.nearest(text))}

    def picture(self, visible, withheld, predicted=None):
        """The first word of each block, the words around it, and as many of these and of noise that go best with it."""
        words, others = visible
        true, chance = (weight[:, 0] > 0 for weight in withheld)
        columns = {
            "seen": self.encoder.words(words[:, :1]),
            "true": self.encoder.words(others[:, : true.shape[1]] * true),
        }
        if predicted is not None:
            apart = ~torch.cat([true, chance], dim=1)  # what it is not scored against: far words, padding, itself
            scores = (predicted[0][:, :1] @ predicted[1].mT)[:, 0].masked_fill(apart, -torch.inf)
            best = scores.argsort(1, descending=True).argsort(1) < true.sum(1, keepdim=True)
            columns["said"] = self.encoder.words(others * best)
        return columns
