"""Sound of Pixels: the part of a sound that belongs to each part of an image."""

import torch
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, Method, Positive, answers, method

WINDOW = 256
BANDS = WINDOW // 2 + 1


@method(paper="Zhao et al., ECCV 2018 (Sound of Pixels)", needs={"clips": "video + audio"}, family="reconstruct")
class SoundOfPixels(Method):
    """Withholds which share of a mixture of two sounds is each clip's own; predicts it from the picture.

    The paper's shares change with time; here there is one of each frequency.

    Args:
        frames: in a clip.
        fps: frames a second.
        seconds: of sound, around the frames.
    """

    compares = True

    def __init__(
        self, encoder: nets.AudioVisualEncoder, frames: Count = 1, fps: Positive = 8.0, seconds: Positive = 0.5
    ):
        super().__init__(encoder)
        self.separate = nets.mlp((2 * encoder.dim, 256, BANDS), norm=False)
        self.register_buffer("taper", torch.hann_window(WINDOW))

    def withhold(self, clips):
        """Clips with their sounds -> frames [n, t, c, h, w] and mixtures [n, s]; each clip's share [n, BANDS]."""
        frames, sounds = map(views.to_float, clips)
        others = sounds[views.partners(len(sounds), self.rng)]
        own, other = (self.spectrum(part).abs().square().mean(2) + 1e-6 for part in (sounds, others))
        return (frames, (sounds + others) / 2), own / (own + other)

    def predict(self, visible):
        """Of each frequency the logit of the share that goes with the picture [n, BANDS]."""
        frames, mixture = visible
        seen = self.encoder.seen(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1)
        return self.separate(torch.cat([seen, self.encoder.heard(mixture)], 1))

    def loss(self, logits, shares):
        return {
            "loss": F.binary_cross_entropy_with_logits(logits, shares),
            "trivial": F.binary_cross_entropy(shares.mean(0).expand_as(shares), shares),
        }

    def spectrum(self, sounds):
        """Sounds [n, s] -> their spectra [n, BANDS, t], complex."""
        return torch.stft(sounds, WINDOW, window=self.taper, return_complex=True)

    def apply_to(self, clip):
        """A clip with its sound -> what sounds on the "left" and on the "right"; both together are the sound."""
        frames, sound = self.encoder.take(clip)
        logits = torch.cat([self.predict((half, sound)) for half in frames.chunk(2, 4)])
        parts = logits.softmax(0)[:, :, None] * self.spectrum(sound)
        heard = torch.istft(parts, WINDOW, window=self.taper, length=sound.shape[1])
        rate = self.encoder.hearing.rate
        return {side: answers.Sound(part, rate) for side, part in zip(("left", "right"), heard, strict=True)}

    def picture(self, visible, shares, logits=None):
        """Shares are drawn as bars, low frequencies on the left."""
        frames, mixture = visible
        columns = {"seen": frames[:, 0], "heard": views.draw_log_mel(views.log_mel(mixture, self.encoder.hearing.rate))}
        columns["true"] = shares[:, None, None].expand(-1, 1, BANDS // 2, -1)
        if logits is not None:
            columns["said"] = logits.sigmoid()[:, None, None].expand(-1, 1, BANDS // 2, -1)
        return columns
