"""Losses: pure functions of tensors, in float32 under any autocast."""

from withhold.losses.adversarial import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    reverse_gradient,
)
from withhold.losses.boxes import focal, generalized_iou, iou
from withhold.losses.conflicts import without_conflicts
from withhold.losses.consistency import (
    Annealing,
    adversarial_mask,
    align,
    annealed_cross_entropy,
    annealing,
    changed_for_the_worst,
    divergence,
    entropy,
    entropy_of_counts,
    mean,
    project_simplex,
    ramp_up,
    self_information,
    sharpen,
    spread,
    sure_cross_entropy,
    sure_divergence,
    swapped_cross_entropy,
    virtual_adversarial,
)
from withhold.losses.contrastive import info_nce, nearest, negative_sampling, nt_xent, pair_distance, symmetric_info_nce
from withhold.losses.covariance import directions, off_diagonal
from withhold.losses.distributed import gather, rank, ranks
from withhold.losses.reconstruction import psnr, regression, squared_error
from withhold.losses.sigreg import sigreg, sigreg_of_noise

__all__ = [
    "Annealing", "adversarial_mask", "align", "annealed_cross_entropy", "annealing", "changed_for_the_worst",
    "directions", "discriminator_loss", "divergence", "entropy", "entropy_of_counts", "focal", "gather",
    "generalized_iou", "generator_loss", "gradient_penalty", "info_nce", "iou", "least_squares_discriminator_loss",
    "least_squares_generator_loss", "mean", "nearest", "negative_sampling", "nt_xent", "off_diagonal", "pair_distance",
    "project_simplex", "psnr", "ramp_up", "rank", "ranks", "regression", "reverse_gradient", "self_information",
    "sharpen", "sigreg", "sigreg_of_noise", "spread", "squared_error", "sure_cross_entropy", "sure_divergence",
    "swapped_cross_entropy", "symmetric_info_nce", "virtual_adversarial", "without_conflicts",
]  # fmt: skip
