"""Videos."""

import numpy as np
import torch

from withhold import views
from withhold.data.stills import middle
from withhold.kinds.image import Image, shrink
from withhold.kinds.traits import Input, register

FRAMES, SIDE = 4, 16


@register
class Video(Image):
    name = "video"
    batch = 32
    maps = False
    length = "frames"
    input = Input("videos", ("frames", "channels", "size", "size"), "numbers from 0 to 1")

    def raw(self, samples, train=None):
        """The pixels of a few frames, evenly spread over the whole of a video, in a row at 16 px: [n, 4*c*h*w]."""
        found = []
        for item in range(len(samples)):
            frames = samples.whole(item)
            places = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
            few = views.to_float(torch.from_numpy(frames[places]).permute(0, 3, 1, 2))
            found.append(shrink(few, SIDE).flatten())
        return torch.stack(found)

    def images(self, samples):
        return samples.shape[0]

    def show(self, item):
        """The frame in the middle."""
        return super().show(middle(item))
