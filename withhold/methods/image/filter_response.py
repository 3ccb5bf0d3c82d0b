"""Prediction of the response of a fixed filter."""

from typing import Literal

from withhold import losses, nets
from withhold.methods import ImageEncoder, Method, Responses, answers, method
from withhold.methods.responses import SURVEYED
from withhold.nets import Decoder


@method(
    paper="Zamir, Sax, Shen, Guibas, Malik & Savarese, CVPR 2018 (edges and keypoints in 2D)",
    needs={"images": "image"},
    family="reconstruct",
)
class FilterResponse(Method):
    """Withholds a fixed filter's response at every pixel, edges or corners; predicts it from the image.

    These are tasks of Taskonomy that need no labels and teach low-level vision. An encoder with a fine map could
    compute just the filter, so its map must be coarser than the image. The paper uses SURF for its keypoints; here they
    are the corners of Shi & Tomasi. Responses are standardised over the data.

    Args:
        of: what the filter detects: "edges" or "corners".
    """

    def __init__(self, encoder: ImageEncoder, of: Literal["edges", "corners"] = "edges"):
        super().__init__(encoder)
        if encoder.grid == encoder.size:
            raise ValueError(
                "the encoder's map is as fine as the image and could be the filter: give another --encoder."
            )
        self.decoder = Decoder(encoder.dim, 1, encoder.grid, encoder.size)
        self.responses = Responses([of])

    def prepare(self, images):
        """Compute the mean and the standard deviation of the responses."""
        some = images.batch(self.some(len(images), SURVEYED)).to(self.responses.mean.device)
        self.responses.survey(self.encoder.view(some, self.rng))

    def withhold(self, images):
        """uint8 [n, c, h, w] -> a view float [n, c, size, size]; its standardised response [n, 1, size, size]."""
        view = self.encoder.view(images, self.rng)
        return view, self.responses(view)

    def predict(self, view):
        return self.decoder(self.encoder.maps(view))

    def loss(self, predicted, response):
        trivial = losses.squared_error(response.mean(0, keepdim=True), response)
        return {"loss": losses.squared_error(predicted, response), "trivial": trivial}

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.decoder, plain(), self.predict)

    def apply_to(self, image):
        """Return the image and the predicted response; the strongest response is white."""
        view = self.encoder.take(image)
        return {"seen": answers.Image(view[0]), "response": answers.Image(self.responses.draw(self.predict(view))[0])}

    def picture(self, view, response, predicted=None):
        columns = {"seen": view, "true": self.responses.draw(response)}
        return columns if predicted is None else columns | {"said": self.responses.draw(predicted.float())}
