"""Recurrent networks that encode a clip frame by frame, and predict further frames."""

import torch
from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.convnet import block
from withhold.nets.decoder import Decoder
from withhold.nets.encoder import layers
from withhold.nets.registry import register
from withhold.nets.video import VideoEncoder

BLOCK = 4
"""Side, in pixels, of the block of a frame that becomes one cell of the first map, to keep all layers small."""

State = tuple[Tensor, Tensor]
"""State of an LSTM: hidden values and cells, [1, n, hidden] each."""


class LSTM(nn.LSTM):
    """An LSTM in float32 under any autocast: rounding errors add up over time, and some CPUs support no other type."""

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float(), state)


@register(name="convnet-lstm")
class Recurrent(VideoEncoder):
    """An LSTM over the codes of frames; its features are its last state, hidden values and cells.

    A frame's code comes from a fully connected layer over its whole map, so it keeps positions. Adapted from
    Srivastava, Mansimov & Salakhutdinov, ICML 2015, whose LSTM has 2048 cells with peepholes and reads pixels directly.
    """

    default = "convnet-lstm"

    def __init__(self, size: int, channels: int, code: int = 256, hidden: int = 512):
        super().__init__(dim=2 * hidden, channels=channels, size=size, stride=4 * BLOCK)
        if size % BLOCK:
            raise UsageError(
                f"convnet-lstm takes frames whose size is a multiple of {BLOCK}, not {size}. Use --size "
                f"{max(1, size // BLOCK) * BLOCK}."
            )
        self.code = code
        self.frames = nn.Sequential(
            nn.PixelUnshuffle(BLOCK),
            *block(channels * BLOCK**2, 32),
            *block(32, 64, stride=2),
            *block(64, 128, stride=2),
            nn.Flatten(),
            nn.Linear(128 * self.grid**2, code),
        )
        self.lstm = LSTM(code, hidden, batch_first=True)

    def codes(self, clips: Tensor) -> Tensor:
        """Clips float [n, t, c, h, w] in [0, 1] -> the codes of their frames [n, t, code]."""
        return self._codes(self.normalize(clips))

    def read(self, clips: Tensor) -> State:
        """Clips float [n, t, c, h, w] in [0, 1] -> the state after their last frame."""
        return self.lstm(self.codes(clips))[1]

    def encode(self, x: Tensor) -> Tensor:
        _, state = self.lstm(self._codes(x))
        return torch.cat([part[0] for part in state], 1)[..., None, None, None]

    def stages(self):
        return [*layers(self.frames), [self.lstm]]

    def _codes(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)
        return self.frames(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])


class Continuation(nn.Module):
    """An LSTM that continues from the state of a `Recurrent` and decodes a frame at each step."""

    def __init__(self, encoder: Recurrent):
        super().__init__()
        hidden, grid = encoder.dim // 2, encoder.grid
        self.lstm = LSTM(encoder.code, hidden, batch_first=True)
        self.draw = nn.Sequential(
            nn.Linear(hidden, 128 * grid**2),
            nn.Unflatten(1, (128, grid, grid)),
            Decoder(128, encoder.channels * BLOCK**2, grid, encoder.size // BLOCK),
            nn.PixelShuffle(BLOCK),
        )

    def forward(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """Inputs of each step [n, t, code] and a state -> frames [n, t, c, h, w], not clamped, and the new state."""
        found, state = self.lstm(codes, state)
        return self.draw(found.flatten(0, 1)).unflatten(0, found.shape[:2]), state
