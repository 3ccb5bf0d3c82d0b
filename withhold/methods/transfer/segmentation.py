"""Segmentation: the class of every pixel, going on from what an encoder has learned."""

from collections.abc import Sequence

from withhold.methods import Freezing, ImageEncoder, Probability, Segmenter, Stages, method


@method(
    paper="Long, Shelhamer & Darrell, CVPR 2015; Hariharan et al., CVPR 2015 (hypercolumns)",
    needs={"images": "image + mask"},
    family="supervised",
)
class Segmentation(Freezing, Segmenter):
    """Withholds the mask; predicts the class of every pixel of a light view, going on from what the encoder knows.

    A small head sees the maps of several stages at once: the coarse ones say what there is, the fine ones where it
    ends. With all stages frozen, the head's masks measure the maps. Learning rates by stage are options of the
    training: `--encoder-lr` and `--layer-decay`.

    Pixels with the number 255 teach nothing, nor those of a class that is called unlabelled, void or ignore.

    Args:
        freeze: how many of the encoder's stages stay as they are, counted from the input; "all", or "none". Their batch
            normalisation keeps its statistics too.
        flip: probability that a view is a mirror image; 0 for what has a left and a right.
    """

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], freeze: Stages = None, flip: Probability = 0.5):
        super().__init__(encoder, classes, flip)
        self.freeze(freeze)

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and masks [n, h, w] -> views of the encoder's size; of the masks the same ones."""
        items, masks = images
        return self.view(items, masks=masks)

    def predict(self, seen):
        """Scores of the classes [n, k, h, w]."""
        return self.segment(seen)

    def loss(self, scores, masks):
        return self.terms(scores, masks)

    def picture(self, seen, masks, scores=None):
        columns = {"seen": seen, "true": self.draw(masks, seen)}
        return columns if scores is None else columns | {"said": self.draw(scores.argmax(1), seen)}
