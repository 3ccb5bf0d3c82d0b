"""Images and videos."""

import io
import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import data, nets, views
from withhold.data.videos import each_frame, encode, frame_rate, middle
from withhold.kinds.traits import Input, Traits, register
from withhold.page import THUMBNAIL, cell

SIDE = 32
FRAMES, FRAME_SIDE = 4, 16
FILM_SIDE, FILM_SECONDS = 360, 30
"""The shorter side, in pixels, and the length of what a page plays."""


@register
class Image(Traits):
    name, batch, control, maps = "image", 256, "pixels", True
    input: Input = ("images", ("channels", "size", "size"), "numbers from 0 to 1")
    preparation = (
        "The image upright (EXIF), transparency over white; a JPEG file decoded at a fraction, by Pillow's draft with "
        "twice the size. The square in its middle, scaled to the size: Pillow's resize(size, LANCZOS, box of the "
        "square). Converted to RGB, or with one channel to L (ITU-R 601-2 luma). Divided by 255; channels first."
    )

    def raw(self, samples, train=None):
        """Pixels in [0, 1] as float32 [n, c*h*w], averaged down to 32 px at most."""
        return nets.rows(nn.Identity(), lambda images: shrink(images, SIDE), samples, "cpu")

    def answered(self, source, load):
        return data.each_image(source)  # of any shape

    def show(self, item):
        return cell(self.picture(item, THUMBNAIL))

    def picture(self, item, side):
        return data.thumbnail(item, side)


@register
class Video(Image):
    name, batch, maps, followed, length = "video", 32, False, True, "frames"
    answered = Traits.answered
    input = ("videos", ("frames", "channels", "size", "size"), "numbers from 0 to 1")
    preparation = (
        "The frame shown at each multiple of 1 / fps seconds, its square in the middle scaled to the size (FFmpeg: "
        "area to shrink, bicubic to enlarge). RGB, or gray with one channel; divided by 255; channels before height. "
        "Windows of so many frames, side by side, the last one ending where the video does; a shorter video shows its "
        "last frame on. The features of a video are the mean over its windows."
    )

    def raw(self, samples, train=None):
        """The pixels of a few frames, evenly spread over the whole of a video, in a row at 16 px: [n, 4*c*h*w]."""
        found = []
        for item in range(len(samples)):
            frames = samples.whole(item)
            places = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
            few = views.to_float(torch.from_numpy(frames[places]).permute(0, 3, 1, 2))
            found.append(shrink(few, FRAME_SIDE).flatten())
        return torch.stack(found)

    def images(self, samples):
        return samples.shape[0]

    def whole(self, samples, index):
        return super().whole(samples, index).permute(0, 3, 1, 2)

    def part(self, item, start, end):
        frame = middle(item, (start + end) / 2)
        return frame[None] if isinstance(frame, np.ndarray) else [frame]

    def picture(self, item, side):
        return super().picture(middle(item), side)

    def film(self, item):
        rate, file = frame_rate(item), io.BytesIO()
        encode(itertools.islice(each_frame(item, FILM_SIDE), round(FILM_SECONDS * rate)), rate, file)
        return file.getvalue(), "video/mp4"


def shrink(images: Tensor, side: int) -> Tensor:
    """Images [n, c, h, w] -> their block means [n, c*h*w], at most `side` pixels high and wide."""
    return F.interpolate(images, [min(length, side) for length in images.shape[2:]], mode="area").flatten(1)
