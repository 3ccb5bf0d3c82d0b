"""UDA: unsupervised data augmentation, of texts."""

from collections.abc import Sequence
from typing import Literal

import torch

from withhold import losses, views
from withhold.methods import ConsistencyTraining, Count, NonNegative, Optimizer, Positive, Probability, Share, method
from withhold.nets import TextEncoder

SHARES = {"tfidf": 0.7, "switchout": 0.05}


@method(
    paper="Xie, Dai, Hovy, Luong & Le, NeurIPS 2020",
    needs={"labelled": "text + label", "unlabelled": "text"},
    family="consistency",
)
class UDAText(ConsistencyTraining):
    """Withholds the label, or the network's own answer to a text; predicts it from the text with other words in it.

    Words that say little of what a text is about give way to others that say as little, by their TF-IDF: what remains
    is what the answer must rest on. With few labels, these are learned by heart long before the rest is understood:
    annealing leaves out those that are known well for the time. Its defaults are the authors' for film reviews, whose
    translations into French and back, which need a translator, are left out; a text is what a window holds.

    Args:
        augmentation: how words are replaced: those that say little by others that do ("tfidf"), or any by any, a random
            number of them ("switchout": Wang, Pham, Dai & Neubig, EMNLP 2018).
        share: of a text's words that are replaced, by default 0.7, as in the paper on DBPedia; of SwitchOut the
            temperature of their number, as a share of the text's words, by default 0.05: about a word, as in its paper.
        weight: of the divergence from the answers to whole texts, a mean over all unlabelled texts; 0 takes nothing
            from these.
        temperature: of the sharpening; 1 leaves answers as they are.
        confidence: how sure an answer must be, before sharpening, to count; 0 lets all of them.
        annealing: how the confidence at which a labelled text is left out rises from chance to 1: evenly ("linear"),
            late ("exp", for very few labels), early ("log", for many), or not at all ("none").
        momentum: share of itself that the average of the weights keeps in a step.
        tokens: in a window.
        tokenizer: what makes words of the text.
    """

    optimizer = Optimizer(lr=1e-2)  # of word vectors; a transformer wants a tenth of it

    def __init__(
        self,
        encoder: TextEncoder,
        classes: Sequence[str],
        augmentation: Literal["tfidf", "switchout"] = "tfidf",
        share: Probability | None = None,
        weight: NonNegative = 1.0,
        temperature: Positive = 0.85,
        confidence: Share = 0.0,
        annealing: losses.Annealing = "linear",
        momentum: Share = 0.99,
        tokens: Count = 128,
        tokenizer: str = "words:20000",
    ):
        super().__init__(encoder, classes, weight, temperature, confidence, annealing, momentum)
        self.augmentation, self.share = augmentation, SHARES[augmentation] if share is None else share
        self.register_buffer("frequencies", encoder.ordinary.float())
        self.register_buffer("idf", torch.zeros(encoder.vocabulary))

    def prepare(self, labelled, unlabelled):
        """How often words occur in the unlabelled texts, and in how few of them."""
        super().prepare(labelled, unlabelled)
        self.frequencies.copy_(self.encoder.occurrences(unlabelled))
        self.idf.copy_((len(unlabelled.items) / self.encoder.spread(unlabelled).clamp(min=1)).log())

    def withhold(self, labelled, unlabelled):
        """The labelled texts and the changed unlabelled ones; labels, answers to these unchanged, and they.

        Padding that all texts end in is cut off.
        """
        texts, labels = labelled
        length = int((torch.cat([texts, unlabelled]) != 0).sum(1).max())
        texts, unlabelled = texts[:, :length], unlabelled[:, :length]
        answers = self.answers(unlabelled)
        return torch.cat([texts, self.strong(unlabelled)]), (labels, answers, unlabelled)

    def strong(self, texts):
        """Texts int [n, l] -> the same with other words in them."""
        if self.augmentation == "switchout":
            return views.switch_out(texts, self.frequencies > 0, self.share, self.rng)
        return views.replace_words(texts, self.frequencies, self.idf, self.share, self.rng)

    def picture(self, seen, withheld, scores=None):
        """The first words of what was seen, and of what the guesses were made from."""
        labels, answers, texts = withheld
        seen, texts = (self.encoder.draw(part) for part in (seen, texts))
        return super().picture(seen, (labels, answers, texts), scores)
