"""Images."""

from torch import Tensor, nn
from torch.nn import functional as F

from withhold import data, nets, views
from withhold.kinds.traits import Input, Traits, register
from withhold.page import THUMBNAIL, cell

SIDE = 32


@register
class Image(Traits):
    name = "image"
    batch = 256
    control = "pixels"
    maps = True
    input = Input("images", ("channels", "size", "size"), "numbers from 0 to 1")

    def raw(self, samples, train=None):
        """Pixels in [0, 1] as float32 [n, c*h*w], averaged down to 32 px at most."""
        return nets.rows(nn.Identity(), lambda images: shrink(images, SIDE), samples, "cpu")

    def change(self, items, encoder, rng):
        """Images uint8 [n, c, h, w] -> crops and flips of them; of a clip [n, t, c, h, w] the same one throughout."""
        return views.augment(items, rng, crop=(0.4, 1.0))

    def show(self, item):
        return cell(data.thumbnail(item, THUMBNAIL))


def shrink(images: Tensor, side: int) -> Tensor:
    """Images [n, c, h, w] -> their block means [n, c*h*w], at most `side` pixels high and wide."""
    return F.interpolate(images, [min(length, side) for length in images.shape[2:]], mode="area").flatten(1)
