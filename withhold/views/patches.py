"""Images as grids of patches."""

from torch import Tensor


def patches(images: Tensor, size: int) -> Tensor:
    """Images [n, c, h, w] -> patches [n, l, c * size * size], row by row; h and w are multiples of `size`."""
    n, c, h, w = images.shape
    cells = images.reshape(n, c, h // size, size, w // size, size)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c * size * size)


def unpatch(patches: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Patches [n, l, c * p * p] -> images [n, channels, *size]: the inverse of `patches`."""
    h, w = size
    side = round((patches.shape[2] / channels) ** 0.5)
    cells = patches.reshape(len(patches), h // side, w // side, channels, side, side)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, h, w)


def standardize(images: Tensor) -> Tensor:
    """Images float [n, c, h, w] -> the same, each with mean 0.5 and deviation 0.25 over all of its values.

    An encoder maps 0.5 and 0.25 to 0 and 1, so it sees standard pixels. A flat image becomes 0.5 everywhere.
    """
    axes = tuple(range(1, images.ndim))
    mean = images.mean(axes, keepdim=True)
    deviation = images.std(axes, keepdim=True, correction=0)
    return (images - mean) / deviation.clamp(min=1e-3) * 0.25 + 0.5
