"""The denoising autoencoder: positions of the holes, and the loss."""

import pytest
import torch

from tests.methods.toys import batch, overfit
from withhold import nets
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("denoising_autoencoder"), nets.build("convnet", size=size, channels=channels), values)


@pytest.mark.parametrize(("ratio", "block"), [(0.25, 4), (0.5, 8), (0.75, 1)])
def test_holes_are_whole_blocks_of_the_share_asked_for(photos, ratio, block):
    noisy, (clean, holes) = make(ratio=ratio, block=block).hide(batch(photos))
    assert (holes.float().mean((1, 2, 3)) == ratio).all()
    cells = holes[:, 0].unfold(1, block, block).unfold(2, block, block).flatten(3).float().mean(3)
    assert ((cells == 0) | (cells == 1)).all()
    assert torch.equal(noisy[(~holes).expand_as(noisy)], clean[(~holes).expand_as(clean)])
    assert (noisy[holes.expand_as(noisy)] == 0.5).all()


def test_every_image_and_every_visit_has_its_own_holes(photos):
    method = make()
    first, second = (method.hide(batch(photos))[1][1] for _ in range(2))
    assert not torch.equal(first, second)
    assert len(first.flatten(1).unique(dim=0)) == len(first)


def test_a_hole_tells_the_encoder_nothing(photos):
    """What is withheld can be changed, and what the encoder sees stays."""
    method = make().eval()
    noisy, (_, holes) = method.hide(batch(photos, 4))
    assert (method.encoder.normalize(noisy)[holes.expand_as(noisy)] == 0).all()


def test_blocks_that_do_not_divide_the_image_are_cut_at_its_edge(photos):
    noisy, (_, holes) = make(size=30, block=4).hide(batch(photos))
    assert noisy.shape[2:] == holes.shape[2:] == (30, 30)
    assert holes[:, :, :, 28:].float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("intact", [0.0, 0.3, 1.0])
def test_the_loss_weighs_intact_pixels_as_asked(photos, intact):
    method = make(intact=intact)
    _, (clean, holes) = method.hide(batch(photos, 5))
    said = torch.rand(clean.shape, generator=torch.Generator().manual_seed(1))
    total = weights = hidden = 0.0
    for i in range(5):
        errors = ((said[i] - clean[i]) ** 2).sum(0)
        total += errors[holes[i, 0]].sum() + intact * errors[~holes[i, 0]].sum()
        weights += 3 * (holes[i].sum() + intact * (~holes[i]).sum())
        hidden += errors[holes[i, 0]].sum() / (3 * holes.sum())
    terms = method.loss(said, (clean, holes))
    assert terms["loss"].item() == pytest.approx((total / weights).item(), rel=1e-4)
    assert terms["psnr"].item() == pytest.approx((-10 * hidden.log10()).item(), rel=1e-4)


def test_a_few_images_are_restored(photos):
    terms = overfit(make(intact=0.0), **batch(photos, 4), seeds=range(40), lr=5e-3)[-1]
    assert terms["loss"] < 0.7 * terms["trivial"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"ratio": 0.999}, "ratio must withhold some of the 64 blocks"),
        ({"block": 20}, "block must be between 1 and 16, half the image's size, not 20"),
        ({"intact": -1.0}, "intact must be at least 0, not -1.0"),
    ],
)
def test_values_out_of_range_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        find("denoising_autoencoder")(nets.build("convnet", size=32, channels=3), **values)
