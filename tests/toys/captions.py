"""Images and their captions: which of the batch belong together."""

import torch
from torch import nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import Count, ImageEncoder, Method, accuracy, method

WORDS = 1000


@method(paper="Radford et al., ICML 2021", needs={"pairs": "image + text"}, family="contrast")
class Captions(Method):
    """Withholds which caption belongs to an image; predicts it among those of the batch.

    Args:
        tokens: in a window of a text.
        tokenizer: of texts: "words", "wordpiece:8000" ...
    """

    def __init__(self, encoder: ImageEncoder, tokens: Count = 8, tokenizer: str = "words"):
        super().__init__(encoder)
        self.words = nn.EmbeddingBag(WORDS, encoder.dim, padding_idx=0)

    def withhold(self, pairs):
        """Images and token numbers, and the place of each one's caption, int64 [n]."""
        images, texts = pairs
        return (views.to_float(images), texts.long() % WORDS), torch.arange(len(texts), device=texts.device)

    def predict(self, visible):
        images, texts = visible
        return F.normalize(self.encoder(images)) @ F.normalize(self.words(texts)).T / 0.1

    def loss(self, predicted, withheld):
        return {"loss": F.cross_entropy(predicted, withheld), "accuracy": accuracy(predicted, withheld)}

    def picture(self, visible, withheld, predicted=None):
        return {"seen": visible[0]}
