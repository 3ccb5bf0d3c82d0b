"""What moves in a clip."""

from torch import Tensor


def motion(clips: Tensor) -> Tensor:
    """Clips uint8 [n, t, c, h, w], or float in [0, 1] -> the mean absolute difference of following frames [n, t - 1].

    Bytes are on the scale of [0, 1] too.
    """
    if not clips.is_floating_point():
        clips = clips.float() / 255
    return clips.diff(dim=1).abs().mean((2, 3, 4))
