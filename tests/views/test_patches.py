import pytest
import torch

from withhold import views


@pytest.mark.parametrize(("channels", "h", "w", "size"), [(3, 12, 20, 4), (1, 9, 6, 3), (3, 8, 8, 8)])
def test_patches_are_windows_in_reading_order_and_go_back(channels, h, w, size):
    images = torch.rand(2, channels, h, w)
    cut = views.patches(images, size)
    assert cut.shape == (2, h // size * (w // size), channels * size * size)
    for place in range(cut.shape[1]):
        top, left = place // (w // size) * size, place % (w // size) * size
        assert torch.equal(cut[:, place], images[:, :, top : top + size, left : left + size].flatten(1))
    assert torch.equal(views.unpatch(cut, channels, (h, w)), images)


def test_standardized_images_have_the_encoders_mean_and_deviation():
    images = torch.rand(5, 3, 8, 8) * torch.tensor([1, 0.5, 0.1, 0.02, 1]).view(5, 1, 1, 1)
    standard = views.standardize(images)
    torch.testing.assert_close(standard.mean((1, 2, 3)), torch.full((5,), 0.5))
    torch.testing.assert_close(standard.std((1, 2, 3), correction=0), torch.full((5,), 0.25))
    assert (views.standardize(torch.full((1, 3, 4, 4), 0.7)) - 0.5).abs().max() < 1e-3
