"""Frame prediction (LSTM autoencoder, future predictor, or both)."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Method, Optimizer, Positive, Probability, Range, answers, method
from withhold.nets import Continuation, Recurrent


@method(paper="Srivastava, Mansimov & Salakhutdinov, ICML 2015", needs={"videos": "video"}, family="reconstruct")
class FramePrediction(Method):
    """Withholds the second half of a clip, and the first as soon as it is read; predicts both from one short state.

    The state is the last state of an LSTM that reads the first half. One decoder predicts the following frames from it,
    another reconstructs the frames that were read, in reverse order. A state that only copies cannot predict the
    future, and a state that only predicts forgets what it has seen. Frames are encoded and decoded by convolutions,
    where the paper's LSTMs read and write pixels.

    Args:
        predicts: the following frames ("future"), the frames that were read ("past"), or both with equal weight
            ("composite").
        conditional: whether the decoder of the future gets the previous true frame in training, and its own previous
            prediction afterwards. It then takes most of a frame from the previous one, and less from the state.
        flip: probability of a horizontal flip of a clip.
        frames: frames per clip; half of them are read.
        fps: frames per second.
    """

    optimizer = Optimizer(lr=3e-3, weight_decay=0.0)  # 1e-3 at 32 clips a step

    def __init__(
        self,
        encoder: Recurrent,
        predicts: Literal["composite", "future", "past"] = "composite",
        conditional: bool = False,
        flip: Probability = 0.5,
        frames: Annotated[int, Range(least=2, multiple=2)] = 20,
        fps: Positive = 10.0,
    ):
        super().__init__(encoder)
        self.conditional, self.flip, self.steps, self.fps = conditional, flip, frames // 2, fps
        branches = ("future", "past") if predicts == "composite" else (predicts,)
        self.decoders = nn.ModuleDict({branch: Continuation(encoder) for branch in branches})

    def withhold(self, videos):
        """Clips uint8 [n, t, c, h, w] -> the first half of each; the target frames of each decoder, by name.

        If the future decoder is conditional, it also gets the following frames in training. All are [n, t / 2, c, size,
        size].
        """
        clips = views.augment(videos, self.rng, size=self.encoder.size, flip=self.flip)
        past, future = self.channelled(clips).chunk(2, 1)
        withheld = {"future": future, "past": past.flip(1)}
        given = future if self.conditional and self.training else None
        return (past, given), {branch: withheld[branch] for branch in self.decoders}

    def channelled(self, clips: Tensor) -> Tensor:
        """Clips float [n, t, c, h, w] with the encoder's channels."""
        return views.with_channels(clips.flatten(0, 1), self.encoder.channels).unflatten(0, clips.shape[:2])

    def predict(self, visible):
        """Return the logits of the frames, by decoder."""
        past, given = visible
        state = self.encoder.read(past)
        return {branch: self.unroll(branch, state, past, given) for branch in self.decoders}

    def unroll(self, branch, state, past, given):
        """Return a decoder's logits of as many frames as `past` has; if conditional, each sees the previous frame."""
        decoder = self.decoders[branch]
        if branch == "past" or not self.conditional:
            return decoder(past.new_zeros(*past.shape[:2], self.encoder.code), state)[0]
        if given is not None:
            return decoder(self.encoder.codes(torch.cat([past[:, -1:], given[:, :-1]], 1)), state)[0]
        frames, last = [], past[:, -1:]
        for _ in range(past.shape[1]):
            frame, state = decoder(self.encoder.codes(last), state)
            frames.append(frame)
            last = frame.sigmoid()
        return torch.cat(frames, 1)

    def loss(self, predicted, withheld):
        """Cross-entropy of pixels for each decoder, summed over the pixels of a frame.

        "trivial" is the loss of the best still image that is the same for all clips: the mean of the batch.
        """
        errors, trivial = {}, 0.0
        for branch, frames in withheld.items():
            count = frames.shape[0] * frames.shape[1]
            errors[branch] = F.binary_cross_entropy_with_logits(predicted[branch], frames, reduction="sum") / count
            mean = frames.mean((0, 1)).expand_as(frames)
            trivial += F.binary_cross_entropy(mean, frames, reduction="sum") / count
        return {"loss": sum(errors.values()), **errors, "trivial": trivial}

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.decoders, plain(), lambda clips: self.predict((clips[:, : self.steps], None)))

    def apply_to(self, clip):
        """A clip -> its last frames with the predicted following ones, and its last frames as reconstructed."""
        past = self.channelled(self.encoder.take(clip)[:, -self.steps :])
        said = {branch: frames.float().sigmoid() for branch, frames in self.predict((past, None)).items()}
        shown = {"remembered": said["past"].flip(1)} if "past" in said else {}
        shown |= {"predicted": torch.cat([past, said["future"]], 1)} if "future" in said else {}
        return {name: answers.Clip(clips[0], self.fps) for name, clips in shown.items()}

    def picture(self, visible, withheld, predicted=None):
        past, _ = visible
        columns = {"seen": past, "true": withheld["future"]} if "future" in withheld else {"seen": past}
        if predicted is not None:
            said = {branch: frames.float().sigmoid() for branch, frames in predicted.items()}
            columns |= {"said": said["future"]} if "future" in said else {}
            columns |= {"remembered": said["past"].flip(1)} if "past" in said else {}
        return columns
