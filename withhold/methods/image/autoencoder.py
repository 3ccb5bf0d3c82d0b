"""Autoencoder."""

from torch import nn

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, answers, method
from withhold.nets import Decoder


@method(paper="Hinton & Salakhutdinov, Science 2006", needs={"images": "image"}, family="reconstruct")
class Autoencoder(Method):
    """Withholds no pixel, only room: predicts the image from a code that is too short to hold it.

    The code is read from the encoder's pooled features, so that these must hold the image; its error is to be compared
    with that of as many principal components. Networks are convolutional, and a good initialisation and AdamW take the
    place of the paper's stacked Boltzmann machines.

    Args:
        code: length of the code; well below the number of principal components that explain the images.
    """

    def __init__(self, encoder: ImageEncoder, code: Count = 64):
        super().__init__(encoder)
        shape = (encoder.dim, encoder.grid, encoder.grid)
        self.code = nn.Linear(encoder.dim, code)
        self.decoder = nn.Sequential(
            nn.Linear(code, encoder.dim * encoder.grid**2),
            nn.Unflatten(1, shape),
            Decoder(encoder.dim, encoder.channels, encoder.grid, encoder.size),
        )

    def withhold(self, images):
        """uint8 [n, c, h, w] -> a view float [n, c, size, size], and the same again."""
        view = views.augment(images, self.rng, size=self.encoder.size)
        view = views.with_channels(view, self.encoder.channels)
        return view, view

    def predict(self, view):
        return self.encoder.denormalize(self.decoder(self.code(self.encoder(view))))

    def loss(self, predicted, view):
        error = losses.squared_error(predicted, view)
        trivial = losses.squared_error(view.mean(0, keepdim=True), view)
        return {"loss": error, "psnr": losses.psnr(error), "trivial": trivial}

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.decoder, plain(), self.predict)

    def says(self):
        """An image that is unlike those it has learned is remembered worse."""

        def anomaly(images):
            view = views.with_channels(images, self.encoder.channels)
            return (self.predict(view) - view).square().flatten(1).mean(1)

        return {"anomaly": anomaly}

    def apply_to(self, image):
        """The image as the code remembers it."""
        view = self.encoder.take(image)
        return {"seen": answers.Image(view[0]), "reconstructed": answers.Image(self.predict(view)[0])}

    def picture(self, view, same, predicted=None):
        columns = {"seen": view}
        if predicted is not None:
            columns["said"] = predicted.float().clamp(0, 1)
        return columns
