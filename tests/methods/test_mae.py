import pytest
import torch

from tests.methods.toys import overfit, smooth_images
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import build
from withhold.methods.image.mae import MAE


def make(size=32, channels=3, **parameters):
    torch.manual_seed(0)
    return MAE(nets.ViT(dim=64, depth=2, heads=2, size=size, channels=channels), **parameters)


@pytest.mark.parametrize(("mask", "left"), [(0.75, 16), (0.5, 32), (0.9, 6)])
def test_the_patches_left_are_those_that_are_not_masked(mask, left):
    (_, kept), (whole, masked) = make(mask=mask).hide({"images": smooth_images(5)})
    assert whole.shape == (5, 64, 3 * 4 * 4)
    assert kept.shape == (5, left)
    for i in range(5):
        assert sorted(kept[i].tolist()) == [token for token in range(64) if not masked[i, token]]
    assert not torch.equal(masked[0], masked[1])


def test_patches_of_one_value_are_refused():
    make(size=8)
    with pytest.raises(UsageError, match=r"patches of 17 x 17 px are single values\. Give another size"):
        build(MAE, nets.build("vit-tiny", size=17, channels=1), {})


def test_nothing_of_a_withheld_patch_is_seen():
    (seen, _), (whole, masked) = make().hide({"images": smooth_images(5)})
    for i in range(5):
        for token in range(64):
            y, x = token // 8 * 4, token % 8 * 4
            cell = seen[i, :, y : y + 4, x : x + 4]
            assert torch.equal(cell, torch.full_like(cell, 0.5) if masked[i, token] else whole[i, token].view(3, 4, 4))


def test_what_stands_in_the_holes_changes_no_prediction():
    method = make().eval()
    (seen, kept), (_, masked) = method.hide({"images": smooth_images(3)})
    holes = views.unpatch(masked[:, :, None].expand(-1, -1, 48).float(), 3, (32, 32))
    with torch.no_grad():
        predicted = method.predict((seen, kept))
        disturbed = method.predict((torch.where(holes.bool(), torch.rand_like(seen), seen), kept))
        other = method.predict((torch.where(holes.bool(), seen, 1 - seen), kept))
    assert predicted.shape == (3, 64, 48)
    assert torch.allclose(predicted, disturbed, atol=1e-5)
    assert not torch.allclose(predicted, other, atol=1e-2)


def test_visible_patches_return_to_their_places():
    """The order in which the visible patches are listed changes nothing."""
    method = make().eval()
    (seen, kept), _ = method.hide({"images": smooth_images(3)})
    with torch.no_grad():
        listed = method.predict((seen, kept))
        shuffled = method.predict((seen, kept[:, torch.randperm(kept.shape[1])]))
    assert torch.allclose(listed, shuffled, atol=1e-4)


def test_loss_is_the_square_error_of_standardised_withheld_patches():
    whole = torch.rand(4, 10, 12)
    predicted = torch.randn(4, 10, 12)
    masked = views.random_mask(4, 10, 0.7, torch.Generator().manual_seed(0))
    errors, constants = [], []

    def standardised(patch):
        centred = patch.double() - patch.double().mean()
        return centred / ((centred**2).sum() / 11 + 1e-6) ** 0.5

    for token in range(10):
        constant = sum(standardised(whole[i, token]) for i in range(4)) / 4
        for i in range(4):
            if masked[i, token]:
                errors.append(((predicted[i, token] - standardised(whole[i, token])) ** 2).mean().item())
                constants.append(((constant - standardised(whole[i, token])) ** 2).mean().item())
    terms = make().loss(predicted, (whole, masked))
    assert terms["loss"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert terms["trivial"].item() == pytest.approx(sum(constants) / len(constants), rel=1e-5)
    flat = make().loss(torch.zeros(4, 10, 12), (torch.full((4, 10, 12), 0.3), masked))
    assert flat["loss"].item() == pytest.approx(0, abs=1e-6)
    assert flat["trivial"].item() == pytest.approx(0, abs=1e-6)


def test_a_perfect_prediction_paints_the_image():
    method = make()
    visible, (whole, masked) = method.hide({"images": smooth_images(3)})
    perfect = (whole - whole.mean(2, keepdim=True)) / whole.std(2, keepdim=True)
    columns = method.picture(visible, (whole, masked), perfect)
    assert torch.allclose(columns["said"], columns["true"], atol=1e-4)
    assert torch.equal(columns["seen"], visible[0])


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(), smooth_images(4), seeds=[0] * 100, lr=1e-3)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


@pytest.mark.parametrize(("size", "channels", "seen"), [(28, 1, 1), (96, 3, 3), (32, 1, 3), (32, 3, 1)])
def test_it_fits_sizes_and_channels(size, channels, seen):
    method = make(size=size, channels=channels)
    visible, withheld = method.hide({"images": smooth_images(3, size, seen)})
    assert visible[0].shape == (3, channels, size, size)
    assert torch.isfinite(method.loss(method.predict(visible), withheld)["loss"])


def test_it_needs_a_vision_transformer():
    with pytest.raises(UsageError, match="mae takes an encoder of the class ViT, not ConvNet"):
        build(MAE, nets.build("convnet", size=32, channels=3), {})
