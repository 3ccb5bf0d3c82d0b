"""Losses: pure functions of tensors, in float32 whatever the autocast."""

from withhold.losses.adversarial import discriminator_loss, generator_loss, reverse_gradient
from withhold.losses.contrastive import info_nce, nt_xent
from withhold.losses.distributed import gather, rank, ranks
from withhold.losses.reconstruction import psnr, squared_error
from withhold.losses.regression import regression
from withhold.losses.sigreg import sigreg, sigreg_of_noise

__all__ = [
    "discriminator_loss", "gather", "generator_loss", "info_nce", "nt_xent", "psnr", "rank", "ranks", "regression",
    "reverse_gradient", "sigreg", "sigreg_of_noise", "squared_error",
]  # fmt: skip
