"""Sounds."""

import base64
import mimetypes
import os
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image
from torch import nn

from withhold import data, nets, views
from withhold.data.kind import Item
from withhold.data.sounds import Sounds, encode, excerpt
from withhold.kinds.traits import Traits, register
from withhold.nets.sounds import DEVIATION, MEAN
from withhold.page import THUMBNAIL, cell

SECONDS, BYTES = 30, 300_000
"""Seconds of a sound that are drawn, and the largest file that is embedded in a page."""


@register
class Audio(Traits):
    name, batch, control, length, tile = "audio", 128, "spectrogram", "seconds", (240, 120)
    input = ("sounds", ("rate", "seconds"), "numbers from -1 to 1")
    preparation = (
        "The mean of the channels, resampled to the rate (FFmpeg's swresample, 16 bits) and divided by 32768. A sound "
        "is cut into adjacent windows of this number of seconds, the last one ending with the sound; a shorter sound "
        "is padded with zeros. The features of a sound are the mean over its windows."
    )

    def lengths(self, decoding):
        return [Sounds(*super().lengths(decoding)).window]

    def raw(self, samples, train=None):
        """The mean and standard deviation over time of each band of the log-mel spectrogram, [n, 2 * 40]."""

        def statistics(waves):
            spectrogram = (views.log_mel(waves, round(samples.rate))[:, 0] - MEAN) / DEVIATION
            deviation, mean = torch.std_mean(spectrogram, dim=2)
            return torch.cat([mean, deviation], dim=1)

        return nets.rows(nn.Identity(), statistics, samples, "cpu")

    def noise(self, encoder, shape, rng):
        """Sounds of all volumes, down to silence, that end earlier and earlier."""
        waves = 2 * torch.rand(tuple(shape), generator=rng) - 1
        volumes, ends = 10.0 ** -torch.arange(shape[0]), torch.linspace(shape[1], 0, shape[0])
        return waves * volumes[:, None] * (torch.arange(shape[1]) < ends[:, None])

    def items(self, samples, indices, encoder):
        return [encode(sound, samples.measured().rate) for sound in samples.read(np.asarray(indices))]

    def part(self, item, start, end):
        rate = own_rate(item)
        return encode(excerpt(item, rate, start, end), rate)

    def show(self, item):
        """The spectrogram of the first 30 seconds, and the sound itself if its file is small."""
        shown = cell(self.picture(item, THUMBNAIL))
        kind: str | None = "audio/x-wav"
        if isinstance(item, str) and os.path.getsize(item) <= BYTES:
            item, kind = Path(item).read_bytes(), mimetypes.guess_type(item)[0] or "application/octet-stream"
        if isinstance(item, bytes) and len(item) <= BYTES:
            shown["sound"] = Markup(f"data:{kind};base64," + base64.b64encode(item).decode())
        return shown

    def picture(self, item, side):
        rate = own_rate(item)
        sound = views.to_float(torch.from_numpy(excerpt(item, rate, 0, SECONDS)[None]))
        drawn = views.draw_log_mel(views.log_mel(sound, rate))[0, 0]
        return Image.fromarray(drawn.mul(255).byte().numpy()).resize((side, side // 2))

    def film(self, item):
        rate = own_rate(item)
        return encode(excerpt(item, rate, 0, SECONDS), rate), "audio/wav"


def own_rate(item: Item) -> int:
    """The sample rate at which a sound is displayed. Raises: Unreadable."""
    return min(Sounds().measure(item).rate, data.MOST_RATE)
