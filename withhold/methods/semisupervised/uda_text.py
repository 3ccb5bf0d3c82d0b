"""UDA for texts: unsupervised data augmentation."""

from collections.abc import Sequence
from typing import Literal

import torch

from withhold import losses, views
from withhold.methods import (
    ConsistencyTraining,
    Count,
    LabelledViews,
    NonNegative,
    Optimizer,
    Positive,
    Probability,
    Share,
    method,
)
from withhold.nets import TextEncoder

SHARES = {"tfidf": 0.7, "switchout": 0.05}


@method(
    paper="Xie, Dai, Hovy, Luong & Le, NeurIPS 2020",
    needs={"labelled": "text + label", "unlabelled": "text"},
    family="consistency",
)
class UDAText(ConsistencyTraining):
    """Withholds the label, or the network's own prediction for a text; predicts it from the text with replaced words.

    Words that say little about the topic, by their TF-IDF, are replaced with others of that kind, so that the
    prediction must rely on the remaining words. Few labels are overfitted long before the unlabelled texts are learned;
    annealing temporarily leaves out labelled texts that are already predicted well. The defaults are the authors' for
    film reviews. Their back-translations through French, which need a translation model, are not used. A text is the
    content of one window.

    Args:
        augmentation: how words are replaced: uninformative words with uninformative ones ("tfidf"), or a random number
            of any words with any others ("switchout": Wang, Pham, Dai & Neubig, EMNLP 2018).
        share: for "tfidf", the share of a text's words that are replaced, by default 0.7, as in the paper on DBPedia;
            for "switchout", the temperature of their number, as a share of the text's words, by default 0.05: about one
            word, as in its paper.
        weight: weight of the divergence from the predictions for unchanged texts, averaged over all unlabelled texts; 0
            ignores them.
        temperature: temperature of the sharpening; 1 leaves predictions as they are.
        confidence: minimum probability of a prediction, before sharpening, to count; 0 counts all predictions.
        annealing: how the probability above which a labelled text is left out rises from chance to 1: evenly
            ("linear"), late ("exp", for very few labels), early ("log", for many), or not used ("none").
        labelled_views: whether labelled texts stay unchanged ("weak", as in the paper) or change, too ("strong").
        momentum: share of itself that the moving average of the weights keeps in a step.
        tokens: tokens per window.
        tokenizer: the tokenizer of the text.
    """

    optimizer = Optimizer(lr=1e-2)  # for word vectors; a transformer needs a tenth of it

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
        labelled_views: LabelledViews = "weak",
        momentum: Share = 0.99,
        tokens: Count = 128,
        tokenizer: str = "words:20000",
    ):
        super().__init__(
            encoder, classes, weight, momentum, temperature=temperature, confidence=confidence, annealing=annealing,
            labelled_views=labelled_views,
        )  # fmt: skip
        self.augmentation, self.share = augmentation, SHARES[augmentation] if share is None else share
        self.register_buffer("frequencies", encoder.ordinary.float())
        self.register_buffer("idf", torch.zeros(encoder.vocabulary))

    def prepare(self, labelled, unlabelled):
        """Count how often each word occurs, and in how many texts: unlabelled ones, or labelled ones without weight."""
        super().prepare(labelled, unlabelled)
        texts = unlabelled if self.weight else labelled
        self.frequencies.copy_(self.encoder.occurrences(texts))
        self.idf.copy_((len(texts.items) / self.encoder.spread(texts).clamp(min=1)).log())

    def withhold(self, labelled, unlabelled):
        """Labelled texts and changed unlabelled ones; labels, predictions for the unchanged texts, the unchanged texts.

        Padding that all texts share is cut off.
        """
        texts, labels = labelled
        length = int((torch.cat([texts, unlabelled]) != 0).sum(1).max())
        texts, unlabelled = texts[:, :length], unlabelled[:, :length]
        answers = self.answers(unlabelled)
        return torch.cat([self.labelled_view(texts), self.strong(unlabelled)]), (labels, answers, unlabelled)

    def weak(self, texts):
        """Texts as they are."""
        return texts

    def strong(self, texts):
        """Replace words of texts int [n, l]."""
        if self.augmentation == "switchout":
            return views.switch_out(texts, self.frequencies > 0, self.share, self.rng)
        return views.replace_words(texts, self.frequencies, self.idf, self.share, self.rng)

    def picture(self, seen, withheld, scores=None):
        """The first words of the visible texts, and of the texts from which the guesses were made."""
        labels, answers, texts = withheld
        seen, texts = (self.encoder.draw(part) for part in (seen, texts))
        return super().picture(seen, (labels, answers, texts), scores)
