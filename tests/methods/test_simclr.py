import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods.image.simclr import SimCLR


def make(size=32, channels=3, **parameters):
    torch.manual_seed(0)
    return SimCLR(nets.build("convnet", size=size, channels=channels), **parameters)


def flat_images(n, seed=0):
    """Images of one random colour each, uint8 [n, 3, 32, 32]."""
    colours = torch.randint(40, 216, (n, 3, 1, 1), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return colours.expand(n, 3, 32, 32).contiguous(memory_format=torch.channels_last)


def test_loss_is_a_softmax_over_every_other_view():
    method = make(temperature=0.3)
    embedded = torch.randn(10, 128)
    partners = torch.arange(10).roll(5)
    rows = []
    for i in range(10):
        similar = [F.cosine_similarity(embedded[i], embedded[j], dim=0).item() / 0.3 for j in range(10)]
        others = sum(math.exp(similar[j]) for j in range(10) if j != i)
        rows.append(-math.log(math.exp(similar[(i + 5) % 10]) / others))
    assert method.loss(embedded, partners)["loss"].item() == pytest.approx(sum(rows) / 10, rel=1e-5)


def test_equal_embeddings_cost_the_trivial_loss_and_equal_partners_are_found():
    method, partners = make(), torch.arange(14).roll(7)
    alike = method.loss(torch.ones(14, 128), partners)
    assert alike["loss"].item() == pytest.approx(alike["trivial"]) == pytest.approx(math.log(13))
    pairs = torch.randn(7, 128).repeat(2, 1)
    assert method.loss(pairs, partners)["accuracy"] == 1
    strangers = method.loss(torch.randn(2000, 128), torch.arange(2000).roll(1000))
    assert strangers["accuracy"] < 0.01


def test_partners_show_the_same_image_and_are_not_the_same_view():
    method = make(strength=0.0)
    images = flat_images(9)
    seen, partners = method.withhold(images)
    assert seen.shape == (18, 3, 32, 32)
    luma = seen.mean((2, 3)) @ torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(luma, luma[partners], atol=1e-4)
    assert torch.equal(partners[partners], torch.arange(18))
    seen, partners = method.withhold(random_images(9))
    assert (seen - seen[partners]).abs().mean((1, 2, 3)).min() > 0.01


def test_colour_does_not_give_the_partner_away():
    """The mean colour finds the partner of every flat image where nothing is jittered, and seldom where it is."""

    def found(strength):
        seen, partners = make(strength=strength).withhold(flat_images(100))
        colours = seen.mean((2, 3))
        nearest = torch.cdist(colours, colours).fill_diagonal_(9).argmin(1)
        return (nearest == partners).float().mean().item()

    assert found(0.0) > 0.5  # a fifth of the views is grey
    assert found(0.5) < 0.2


def test_a_few_images_are_learned_by_heart():
    terms = overfit(make(crop=0.6), smooth_images(16), seeds=range(120))[-1]
    assert terms["loss"] < 0.9 * terms["trivial"]
    assert terms["accuracy"] > 0.3  # chance is 1 / 31


def test_half_precision_changes_the_loss_by_rounding_only():
    method = make()
    embedded, partners = torch.randn(64, 128), torch.arange(64).roll(32)
    with torch.autocast("cpu", torch.bfloat16):
        half = method.loss(embedded.bfloat16(), partners)["loss"]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(method.loss(embedded, partners)["loss"].item(), abs=5e-3)
