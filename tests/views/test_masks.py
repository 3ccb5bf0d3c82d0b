import pytest
import torch
from scipy import ndimage

from withhold import views


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("tokens", "ratio", "count"), [(64, 0.75, 48), (49, 0.6, 29), (10, 0.0, 0), (10, 1.0, 10)])
def test_a_random_mask_hides_exactly_its_share_of_every_row_anywhere(tokens, ratio, count):
    mask = views.random_mask(3000, tokens, ratio, rng())
    assert (mask.sum(1) == count).all()
    assert (mask.float().mean(0) - count / tokens).abs().max() < 0.05


def test_a_block_mask_is_a_rectangle_of_the_area_asked_for():
    masks = views.block_mask(300, 32, 48, rng(), area=(0.2, 0.3), aspect=(0.5, 2.0))[:, 0]
    for mask in masks:
        tall, wide = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == tall * wide
        assert 0.18 <= tall * wide / (32 * 48) <= 0.32
        assert 0.4 <= wide / tall <= 2.5
    assert masks.float().mean(0)[16, 24] > masks.float().mean(0)[0, 0] > 0


def test_several_blocks_are_the_union_of_rectangles():
    masks = views.block_mask(50, 60, 60, rng(), area=(0.02, 0.02), aspect=(1, 1), blocks=3)[:, 0]
    side = round((0.02 * 3600) ** 0.5)
    covered = masks.sum((1, 2))
    assert covered.max() == 3 * side**2
    assert covered.min() >= side**2
    assert max(ndimage.label(mask)[1] for mask in masks) == 3
