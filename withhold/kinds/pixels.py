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
"""Shorter side, in pixels, and length of the videos that a page plays."""


@register
class Image(Traits):
    name, batch, control, maps = "image", 256, "pixels", True
    input: Input = ("images", ("channels", "size", "size"), "numbers from 0 to 1")
    preparation = (
        "The image is rotated upright (EXIF), transparency is put over white, and 16-bit values are divided by 257. "
        "JPEG files are decoded at a reduced size, with Pillow's draft at twice the size. The central square is scaled "
        "with Pillow's resize(size, LANCZOS, box of the square), converted to RGB, or for one channel to L (ITU-R 601 "
        "luma), and divided by 255. Channels come first."
    )

    def raw(self, samples, train=None):
        """Pixels in [0, 1] as float32 [n, c*h*w], averaged down to at most 32 pixels."""
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
        "The frames shown at each multiple of 1 / fps seconds; the central square of each is scaled to the size "
        "(FFmpeg: area to shrink, bicubic to enlarge). RGB, or gray for one channel; divided by 255; channels before "
        "height. A video is cut into adjacent windows of this number of frames, the last one ending with the video; a "
        "shorter video repeats its last frame. The features of a video are the mean over its windows."
    )

    def raw(self, samples, train=None):
        """The pixels of four evenly spaced frames of a video, averaged down to 16 pixels: [n, 4*c*h*w]."""
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
    """Images [n, c, h, w] -> block means [n, c*h*w], at most `side` pixels high and wide."""
    return F.interpolate(images, [min(length, side) for length in images.shape[2:]], mode="area").flatten(1)
