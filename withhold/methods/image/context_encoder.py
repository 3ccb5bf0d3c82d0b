"""Context encoder (inpainting)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import ImageEncoder, Method, Optimizer, Share, answers, method
from withhold.nets import ChannelWise, Decoder, Discriminator


@method(
    paper="Pathak, Krahenbuhl, Donahue, Darrell & Efros, CVPR 2016", needs={"images": "image"}, family="reconstruct"
)
class ContextEncoder(Method):
    """Withholds a square of the image; predicts it from its surroundings, so that an adversary takes it for real.

    The square is half as wide as the image and has a random position. Its outer rim stays visible and counts ten times,
    so that the prediction continues the image without a seam. The adversary sees only squares, never the surrounding
    image.

    Args:
        adversarial: weight of the adversarial loss; the squared error (of values in [-1, 1]) has 1 minus this weight.
    """

    optimizer = {
        "generator": Optimizer(lr=2e-3, weight_decay=0.0, betas=(0.5, 0.999)),
        "discriminator": Optimizer(lr=2e-4, weight_decay=0.0, betas=(0.5, 0.999)),
    }
    weight: Tensor

    def __init__(self, encoder: ImageEncoder, adversarial: Share = 0.001):
        super().__init__(encoder)
        if encoder.size < 16:
            raise ValueError(f"images of {encoder.size} pixels are too small for a hole: use at least 16 (--size 16).")
        self.adversarial = adversarial
        self.side, self.rim = encoder.size // 2, max(1, encoder.size // 32)
        hole = self.side - 2 * self.rim
        self.register_buffer("weight", F.pad(torch.ones(hole, hole), [self.rim] * 4, value=10.0))
        self.mix = nn.Sequential(ChannelWise(encoder.dim, encoder.grid), nn.Conv2d(encoder.dim, encoder.dim, 1))
        self.decoder = Decoder(encoder.dim, encoder.channels, encoder.grid, encoder.size)
        self.discriminator = Discriminator(encoder.channels, self.side)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> views with a hole float [n, c, size, size]; whole views, corners of squares [n, 2]."""
        view = self.encoder.view(images, self.rng)
        places = self.encoder.size - self.side + 1
        corner = torch.randint(places, (len(view), 2), generator=self.rng, device=view.device)
        return self.encoder.blank(view, self.hole(corner)), (view, corner)

    def predict(self, holed):
        """Return the whole image; only the square is scored."""
        return self.decoder(self.mix(self.encoder.maps(holed))).sigmoid()

    def loss(self, predicted, withheld):
        view, corner = withheld
        said, true = self.square(predicted, corner), self.square(view, corner)
        share, rim = self.adversarial, slice(self.rim, -self.rim)
        adversarial = share * losses.generator_loss(self.discriminator(said))
        return {
            "loss": (1 - share) * self.error(said, true) + adversarial,
            "psnr": losses.psnr(losses.squared_error(said[..., rim, rim], true[..., rim, rim])),
            "trivial": (1 - share) * self.error(true.mean(0, keepdim=True), true) + adversarial.detach(),
        }

    def players(self):
        return {
            "generator": [self.encoder, self.mix, self.decoder],
            "discriminator": [self.discriminator],
        }

    def turn(self, player, batch, handed):
        """The discriminator sees the squares that the generator has just made."""
        if player == "generator":
            holed, (view, corner) = self.hide(batch)
            predicted = self.predict(holed)
            handed |= {"true": self.square(view, corner), "made": self.square(predicted.detach(), corner)}
            return self.score(predicted, (view, corner))
        real, fake = self.discriminator(handed["true"]), self.discriminator(handed["made"])
        return {
            "loss": losses.discriminator_loss(real, fake),
            "accuracy": ((real > 0).float().mean() + (fake < 0).float().mean()) / 2,
        }

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.decoder, plain(), lambda images: self.predict(self.hide({"images": images})[0]))

    def apply_to(self, image):
        """Remove the middle of the image, and fill it."""
        view = views.with_channels(self.encoder.take(image), self.encoder.channels)
        corner = torch.full((1, 2), (self.encoder.size - self.side) // 2, device=view.device)
        hole = self.hole(corner)
        holed = self.encoder.blank(view, hole)
        filled = holed.where(~hole, self.predict(holed).float())
        return {"seen": answers.Image(holed[0]), "inpainted": answers.Image(filled[0])}

    def picture(self, holed, withheld, predicted=None):
        view, corner = withheld
        columns = {"seen": holed, "true": view}
        if predicted is not None:
            columns["said"] = holed.where(~self.hole(corner), predicted.float())
        return columns

    def hole(self, corner: Tensor) -> Tensor:
        """Corners of squares [n, 2] -> bool [n, 1, size, size], true inside the rims of the squares."""
        place = torch.arange(self.encoder.size, device=corner.device) - corner[..., None]
        inside = (place >= self.rim) & (place < self.side - self.rim)
        return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]

    def square(self, images: Tensor, corner: Tensor) -> Tensor:
        """Cut the squares at the corners [n, 2] out of images [n, c, size, size] -> [n, c, side, side]."""
        return views.windows(images, corner[:, None], self.side)[:, 0]

    def error(self, said: Tensor, true: Tensor) -> Tensor:
        """The squared error of squares, with the rim counting ten times, on the paper's scale of [-1, 1]."""
        return 4 * (self.weight * (said - true).square()).mean()
