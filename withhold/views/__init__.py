"""Views: augmented, masked or converted inputs, computed per batch on the device, with random numbers per sample."""

from withhold.views.augment import augment
from withhold.views.chains import Strong, asymmetric_pair, distort, rand_augment, strong, weak
from withhold.views.chroma import ab_palette, paint, split_color, to_bins
from withhold.views.color import lab_to_rgb, lightness, rgb_to_lab, to_float, to_grey, with_channels
from withhold.views.dirt import dirt, rain
from withhold.views.filters import corners, edges, erase, noise, solarize
from withhold.views.geometry import affine, flip, shift, warp
from withhold.views.masks import block_mask, random_mask
from withhold.views.mixing import mixup
from withhold.views.motion import flow, motion
from withhold.views.pairs import overlay, partners, stretch, view_pairs
from withhold.views.sounds import draw_log_mel, gain, log_mel, mask_bands, time_shift
from withhold.views.tiles import (
    SIDES,
    board,
    distant_orders,
    neighbours,
    patches,
    standardize,
    tiles,
    tiling,
    unpatch,
    windows,
)
from withhold.views.tokens import mask_tokens, replace_words, switch_out

__all__ = [
    "SIDES", "Strong", "ab_palette", "affine", "asymmetric_pair", "augment", "block_mask", "board", "corners", "dirt",
    "distant_orders", "distort", "draw_log_mel", "edges", "erase", "flip", "flow", "gain", "lab_to_rgb", "lightness",
    "log_mel", "mask_bands", "mask_tokens", "mixup", "motion", "neighbours", "noise", "overlay", "paint", "partners",
    "patches", "rain", "rand_augment", "random_mask", "replace_words", "rgb_to_lab", "shift", "solarize",
    "split_color", "standardize", "stretch", "strong", "switch_out", "tiles", "tiling", "time_shift", "to_bins",
    "to_float", "to_grey", "unpatch", "view_pairs", "warp", "weak", "windows", "with_channels",
]  # fmt: skip
