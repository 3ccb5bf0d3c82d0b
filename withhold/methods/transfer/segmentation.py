"""Semantic segmentation, starting from a trained encoder."""

from collections.abc import Sequence

from withhold.methods import Freezing, ImageEncoder, Probability, Segmenter, Stages, method


@method(
    paper="Long, Shelhamer & Darrell, CVPR 2015; Hariharan et al., CVPR 2015 (hypercolumns)",
    needs={"images": "image + mask"},
    family="supervised",
)
class Segmentation(Freezing, Segmenter):
    """Withholds the mask; predicts the class of every pixel of a light view, starting from a trained encoder.

    A small head uses the maps of several stages at once: the coarse ones to recognise objects, the fine ones to locate
    their borders. With all stages frozen, the accuracy of the masks measures the quality of the maps. The training
    options `--encoder-lr` and `--layer-decay` set the learning rates of the stages.

    Pixels with the number 255, and pixels of a class called unlabelled, void or ignore, do not contribute to the loss.

    Args:
        freeze: number of the encoder's stages to freeze, counted from the input; "all", or "none". The statistics of
            their batch normalisation are frozen too.
        flip: probability of a horizontal flip; 0 if left and right differ in meaning.
    """

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], freeze: Stages = None, flip: Probability = 0.5):
        super().__init__(encoder, classes, flip)
        self.freeze(freeze)

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and masks [n, h, w] -> views of the encoder's size; the same views of the masks."""
        items, masks = images
        return self.view(items, masks=masks)

    def predict(self, seen):
        """Class scores [n, k, h, w]."""
        return self.segment(seen)

    def loss(self, scores, masks):
        return self.terms(scores, masks)

    def picture(self, seen, masks, scores=None):
        columns = {"seen": seen, "true": self.draw(masks, seen)}
        return columns if scores is None else columns | {"said": self.draw(scores.argmax(1), seen)}
