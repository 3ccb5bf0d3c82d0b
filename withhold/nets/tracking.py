"""Label propagation through a video, by similarity of features to those of earlier frames."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import views

TEMPERATURE = 0.07
AT_ONCE = 32
"""Frames in a batch for embedding."""
CHUNK = 2**24
"""Similarities computed at a time: 64 MB."""


def pointer(queries: Tensor, keys: Tensor, values: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Attention: for each query, the mean of the values weighted by softmax(query . key / temperature) over all keys.

    Source: Vondrick et al., ECCV 2018, equations 1 and 2.

    Args:
        queries: [n, q, d].
        keys: [n, k, d].
        values: [n, k, v].

    Returns:
        float32 [n, q, v], under any autocast.
    """
    with torch.autocast(queries.device.type, enabled=False):
        parts = (queries.float(), keys.float(), values.float())
        return F.scaled_dot_product_attention(*parts, scale=1 / temperature)


def track(
    embed: Callable[[Tensor], Tensor], frames: Tensor, mask: Tensor, side: int, stride: int, near: bool = False
) -> Tensor:
    """Propagate the labels of a video's first frame to all of its frames.

    Args:
        embed: images float [n, c, h, w] in [0, 1] -> maps [n, d, h / stride, w / stride]; see `propagate`.
        frames: uint8 [t, c, h, w] or float in [0, 1], of any shape; `embed` receives whole frames, scaled.
        mask: labels of the first frame, int64 [h', w'] from 0, with the aspect ratio of the frames; or a weight for
            each label and place, float [k, h', w'].
        side: pixels to which the shorter side is scaled; both sides are then rounded to multiples of `stride`.
        near: see `propagate`.

    Returns:
        the share of each label at every place, float [t, k, h / stride, w / stride]; `at_pixels` turns it into labels.
    """
    maps = torch.cat([embed(fit(views.to_float(part), side, stride)) for part in frames.split(AT_ONCE)])
    labels = mask if mask.is_floating_point() else F.one_hot(mask).permute(2, 0, 1).float()
    return propagate(maps, F.interpolate(labels[None], maps.shape[2:], mode="area")[0].to(maps.device), near=near)


def propagate(
    maps: Tensor,
    first: Tensor,
    *,
    memory: int = 7,
    radius: float = 0.2,
    neighbours: int = 10,
    temperature: float = TEMPERATURE,
    near: bool = False,
) -> Tensor:
    """Propagate maps of the first frame, such as labels, through a clip.

    Each place takes the mean over its nearest neighbours in the first frame and in the previous frames, weighted by
    exp(-distance^2 / (2 temperature)); for embeddings of length 1, this is softmax(cosine / temperature).
    Source: the inference of Jabri, Owens & Efros, NeurIPS 2020, with the memory of Wang, Jabri & Efros, CVPR 2019. The
    radius is that of the former, 12 cells of 60, scaled to the grid.

    Args:
        maps: embeddings float [t, d, h, w].
        first: values at each place of the first frame, float [k, h, w].
        memory: number of previous frames to use, besides the first frame.
        radius: largest distance of neighbours in previous frames, as a share of the shorter side; in the first frame,
            neighbours may be anywhere.
        neighbours: number of neighbours.
        near: whether the radius applies to the first frame too.

    Returns:
        float [t, k, h, w]; the first of them is `first`.
    """
    t, _, h, w = maps.shape
    points = maps.flatten(2).mT
    place = torch.cartesian_prod(torch.arange(h), torch.arange(w)).to(maps.device, torch.float32)
    far = torch.cdist(place, place) > max(1.0, radius * min(h, w))
    known = first.new_zeros(t, h * w, len(first))
    known[0] = first.flatten(1).T
    for now in range(1, t):
        asked = [0, *range(max(1, now - memory), now)]
        keys, values = points[asked].flatten(0, 1), known[asked].flatten(0, 1)
        half = keys.square().sum(1) / -2
        for part in torch.arange(h * w, device=maps.device).split(max(1, CHUNK // len(keys))):
            hidden = far[part].repeat(1, len(asked))
            hidden[:, : h * w] &= near
            # Minus half the squared distance, up to the query's own length, which cancels in the softmax.
            closeness = torch.addmm(half, points[now, part], keys.T).masked_fill_(hidden, -torch.inf)
            nearest, index = closeness.topk(min(neighbours, len(keys)), dim=1)
            known[now, part] = ((nearest / temperature).softmax(1)[..., None] * values[index]).sum(1)
    return known.mT.unflatten(2, (h, w))


def fit(images: Tensor, side: int, stride: int) -> Tensor:
    """Scale images float [n, c, h, w]: the shorter side to `side`, both sides rounded to multiples of `stride`."""
    scale = side / min(images.shape[2:])
    shape = [max(1, round(length * scale / stride)) * stride for length in images.shape[2:]]
    if list(images.shape[2:]) == shape:
        return images
    return F.interpolate(images, shape, mode="bilinear", antialias=True)


def at_pixels(shares: Tensor, shape: tuple[int, int]) -> Tensor:
    """Shares of labels [k, h, w] -> the most likely label of every pixel, int64 [*shape]."""
    return F.interpolate(shares[None], shape, mode="bilinear")[0].argmax(0)


def bumps(points: Tensor, shape: tuple[int, int], width: float) -> Tensor:
    """Points (x, y) in pixels [..., 2] -> a Gaussian of deviation `width` pixels around each: float [..., *shape]."""
    y, x = (torch.arange(length, device=points.device) + 0.5 for length in shape)
    away = (x - points[..., :1])[..., None, :].square() + (y - points[..., 1:])[..., :, None].square()
    return (away / (-2 * width**2)).exp()


def centres(shares: Tensor) -> Tensor:
    """Maps [k, h, w] -> the position of the maximum of each, (x, y) as shares of width and height [k, 2].

    It is the weighted mean position of the five largest values, as in Jabri, Owens & Efros (NeurIPS 2020).
    """
    h, w = shares.shape[1:]
    values, places = shares.flatten(1).topk(min(5, h * w), dim=1)
    at = torch.stack([(places % w + 0.5) / w, (places // w + 0.5) / h], dim=2)
    weights = values / values.sum(1, keepdim=True).clamp(min=1e-12)
    return (weights[..., None] * at).sum(1)
