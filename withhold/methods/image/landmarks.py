"""Landmarks from conditional image generation (IMM)."""

import torch
from torch import nn

from withhold import losses, nets, views
from withhold.methods import Count, Method, NonNegative, Optimizer, Positive, answers, method
from withhold.nets import Decoder, FineConv

WARP = {"degrees": 15.0, "translate": 0.1, "scale": (0.8, 1.2)}
"""Range of the rotation, shift and scale of the two views of an image."""


@method(paper="Jakab, Gupta, Bilen & Vedaldi, NeurIPS 2018 (IMM)", needs={"images": "image"}, family="reconstruct")
class Landmarks(Method):
    """Withholds one warp of an image except for a few points; predicts it from these and from another warp.

    The other warp shows the appearance of objects, but not their positions: only the points give those. The encoder
    predicts one map for each point; the point is the softmax mean over the map's columns and over its rows. A second,
    small network encodes the other warp, and a decoder generates the image from its map and a Gaussian bump around each
    point. Few points and wide bumps leave no capacity for colours. Pixels from outside the image, which would show how
    it was warped, are not scored. The paper compares features of a network that was trained to colorize images; here
    pixels are compared.

    Args:
        points: number of points.
        width: distance from the centre at which a bump falls to 1/e, as a share of half the image's side.
        bend: local displacement of parts of an image, in addition to the global warp, as a share of its side.
    """

    optimizer = Optimizer(lr=2e-3, weight_decay=0.0)
    batch_size = 64

    def __init__(self, encoder: FineConv, points: Count = 10, width: Positive = 0.2, bend: NonNegative = 0.04):
        super().__init__(encoder)
        self.width, self.bend = width, bend
        self.pose = nn.Conv2d(encoder.dim, points, 1)
        self.appearance = FineConv(encoder.size, encoder.channels)
        grid, dim = self.appearance.grid, self.appearance.dim
        self.decoder = Decoder(dim + points, encoder.channels, grid, encoder.size)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (two warps, float [n, c, size, size]); the second, how much of each pixel is inside."""
        whole = self.encoder.view(images, self.rng, flip=0.0)
        framed = torch.cat([whole, torch.ones_like(whole[:, :1])], 1)
        (source, _), (target, inside) = (self.warp(framed) for _ in range(2))
        return (source, target), (target, inside)

    def predict(self, visible):
        source, target = visible
        return self.draw(self.appearance.maps(source), self.points(target))

    def loss(self, predicted, withheld):
        target, inside = withheld
        error = losses.squared_error(predicted, target, inside)
        mean = (target * inside).sum(0) / inside.sum(0).clamp(min=1e-6)
        return {"loss": error, "psnr": losses.psnr(error), "trivial": losses.squared_error(mean, target, inside)}

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.appearance, plain())
        nets.refresh_statistics(self.decoder, plain(), lambda images: self.predict((images, images)))

    def says(self):
        return {"points": self.points}

    def apply_to(self, image):
        """The positions of the points in an image, by number, and the image with the points drawn on it."""
        view = views.with_channels(self.encoder.take(image), self.encoder.channels)
        (places,), (h, w) = self.points(view), image.shape[1:]
        corner = torch.tensor([max(0, w - h) // 2, max(0, h - w) // 2])
        names = [str(number) for number in range(len(places))]
        return {
            "points": answers.Points(names, places * min(h, w) + corner),
            "marked": answers.Image(self.mark(view, places[None])[0]),
        }

    def picture(self, visible, withheld, predicted=None):
        source, target = visible
        columns = {"seen": source, "true": target, "points": self.mark(target, self.points(target))}
        if predicted is not None:
            columns["said"] = predicted.float().clamp(0, 1)
        return columns

    def warp(self, framed):
        """Warp images with a channel of ones [n, c + 1, size, size]; also return how much of each pixel is inside."""
        return views.affine(framed, self.rng, **WARP, bend=self.bend).split([self.encoder.channels, 1], 1)

    def points(self, images):
        """Images float [n, c, size, size] -> points (x, y), as shares of width and height [n, points, 2]."""
        maps = self.pose(self.encoder.maps(images))
        places = torch.stack([middle(maps.mean(2)), middle(maps.mean(3))], 2)
        return places * (self.encoder.grid * self.encoder.stride / self.encoder.size)  # the last cell may overhang

    def draw(self, maps, places):
        """Appearance [n, dim, grid, grid] and positions [n, points, 2] -> images."""
        grid = self.appearance.grid
        cells = self.encoder.size / self.appearance.stride
        bells = nets.bumps(places * cells, (grid, grid), self.width / 2 * cells / 2**0.5)
        return self.encoder.denormalize(self.decoder(torch.cat([maps, bells], 1)))

    def mark(self, images, places):
        """Images float [n, c, size, size] at half brightness, with a white dot at each point [n, points, 2]."""
        size = self.encoder.size
        dots = nets.bumps(places * size, (size, size), size / 50).amax(1, keepdim=True)
        return images / 2 * (1 - dots) + dots


def middle(scores):
    """Scores of the cells of an axis [n, k, l] -> the softmax mean position, from 0 to 1: [n, k]."""
    cells = (torch.arange(scores.shape[2], device=scores.device) + 0.5) / scores.shape[2]
    return scores.float().softmax(2) @ cells
