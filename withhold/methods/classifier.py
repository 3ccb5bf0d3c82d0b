"""Methods that learn to name classes, from a few labels and from what has none."""

from collections.abc import Sequence

from torch import Tensor, nn

from withhold.methods.base import Method
from withhold.nets import Encoder


class Classifier(Method):
    """A method with a linear head over its encoder, that answers with a class.

    One of its streams is of labelled images, whose classes it is told when it is made: they are no parameter.

    Args:
        classes: the names of the classes, in the order of their numbers.
    """

    def __init__(self, encoder: Encoder, classes: Sequence[str]):
        super().__init__(encoder)
        self.classes = tuple(classes)
        self.head = nn.Linear(encoder.dim, len(self.classes))

    def classify(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> the scores of the classes [n, k]: what the trained method says."""
        return self.head(self.encoder(images))
