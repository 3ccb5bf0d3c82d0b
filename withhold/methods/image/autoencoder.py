"""Autoencoder."""

from torch import nn

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, answers, method
from withhold.nets import Decoder


@method(paper="Hinton & Salakhutdinov, Science 2006", needs={"images": "image"}, family="reconstruct")
class Autoencoder(Method):
    """Withholds capacity instead of pixels; predicts the image from a code that is too short to store it.

    The code is computed from the encoder's pooled features, so these must contain the image. Compare its error with
    that of PCA with as many components. The networks are convolutional; good initialisation and AdamW replace the
    paper's stacked Boltzmann machines.

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
        """Images uint8 [n, c, h, w] -> a view float [n, c, size, size], as input and as target."""
        view = self.encoder.view(images, self.rng)
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
        """The reconstruction error is the anomaly score: images unlike the training images are reconstructed worse."""

        def anomaly(images):
            view = views.with_channels(images, self.encoder.channels)
            return (self.predict(view) - view).square().flatten(1).mean(1)

        return {"anomaly": anomaly}

    def apply_to(self, image):
        """Reconstruct the image from its code."""
        view = self.encoder.take(image)
        return {"seen": answers.Image(view[0]), "reconstructed": answers.Image(self.predict(view)[0])}

    def picture(self, view, same, predicted=None):
        columns = {"seen": view}
        if predicted is not None:
            columns["said"] = predicted.float().clamp(0, 1)
        return columns
