"""I-JEPA: context and target patches, the teacher, and the loss."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import batch, overfit, smooth_images
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import build
from withhold.methods.image.i_jepa import IJEPA, listed


def make(size=32, channels=3, **parameters):
    torch.manual_seed(0)
    return IJEPA(nets.ViT(dim=64, depth=2, heads=2, size=size, channels=channels), **parameters)


def test_blocks_are_rectangles_of_a_sixth_of_the_image_and_no_part_of_the_context():
    context, blocks = make().draw(200)
    assert context.shape == (200, 64)
    assert blocks.shape == (200, 4, 64)
    assert not (context[:, None] & blocks).any()
    asked = blocks[blocks.any(2)].view(-1, 8, 8)
    for rows, columns, count in zip(asked.any(2).sum(1), asked.any(1).sum(1), asked.sum((1, 2)), strict=True):
        assert rows * columns == count, "a block is a rectangle"
        assert {int(rows), int(columns)} <= {3, 4}, "15 to 20 % of 64 patches, of sides in a ratio of 3/4 to 3/2"
    assert asked.float().mean() == pytest.approx(0.175, abs=0.01)


def test_what_the_context_loses_are_the_blocks():
    """They lie in a square of 7 or 8 patches a side, and every patch of it that is in no block stays."""
    context, blocks = make().draw(200)
    for left, taken in zip(context.view(-1, 8, 8), blocks.any(1).view(-1, 8, 8), strict=True):
        rows, columns = left.any(1).nonzero(), left.any(0).nonzero()
        square = torch.zeros(8, 8, dtype=torch.bool)
        square[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        assert torch.equal(left, square & ~taken)


def test_enough_of_the_context_is_left_whatever_is_asked_for():
    """Twelve blocks would leave nothing of most images: the later ones are not asked for there."""
    context, blocks = make(blocks=12).draw(300)
    assert context.sum(1).min() >= 4
    assert blocks[:, 0].any(1).all()
    assert not blocks.any(2).all()


def test_a_list_names_the_places_and_says_which_of_them_are_real():
    mask = torch.tensor([[False, True, False, True], [False, False, True, False]])
    places, real = listed(mask)
    assert places[0].tolist() == [1, 3]
    assert places[1, 0] == 2
    assert real.tolist() == [[True, True], [True, False]]


def test_nothing_but_the_context_s_patches_is_seen():
    method = make().eval()
    (view, context, blocks), _ = method.hide({"images": smooth_images(3)})
    patches = torch.zeros(3, 65).scatter(1, context[0].where(context[1], 64), 1.0)[:, :64]
    seen = patches.view(3, 1, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3).bool()
    with torch.no_grad():
        expected = method.predict((view, context, blocks))
        disturbed = method.predict((view.where(seen, torch.rand_like(view)), context, blocks))
        other = method.predict((view.where(~seen, torch.rand_like(view)), context, blocks))
    asked = blocks[1]
    assert expected.shape == (*asked.shape, 64)
    assert torch.allclose(expected[asked], disturbed[asked], atol=1e-5)
    assert not torch.allclose(expected[asked], other[asked], atol=1e-2)


def test_an_image_s_prediction_does_not_depend_on_the_lengths_of_the_others_lists():
    method = make().eval()
    (view, context, blocks), _ = method.hide({"images": smooth_images(6)})
    with torch.no_grad():
        together = method.predict((view, context, blocks))
        for image in range(6):
            one = slice(image, image + 1)
            v, m = int(context[1][one].sum()), int(blocks[1][one].sum(2).max())
            alone = method.predict(
                (view[one], tuple(part[one, :v] for part in context), tuple(part[one, :, :m] for part in blocks))
            )
            real = blocks[1][image, :, :m]
            assert torch.allclose(alone[0][real], together[image, :, :m][real], atol=1e-4)


def test_the_targets_are_the_teacher_s_normalised_features_of_the_whole_view():
    method = make()
    (view, _, _), (_, features, _) = method.hide({"images": smooth_images(3)})
    encoder = method.encoder  # whose copy the teacher still is
    whole = encoder.transformer(encoder.tokens(view)).detach()
    centred = whole - whole.mean(2, keepdim=True)
    expected = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(features, expected, atol=1e-4)


def test_the_loss_is_the_smooth_absolute_error_of_what_is_asked_for():
    features, predicted = torch.randn(2, 9, 5), 2 * torch.randn(2, 2, 3, 5)
    blocks = (torch.tensor([[[0, 1, 2], [4, 5, 0]], [[8, 7, 0], [3, 4, 5]]]),
              torch.tensor([[[True] * 3, [True, True, False]], [[True, True, False], [True] * 3]]))  # fmt: skip
    terms = make(blocks=2).loss(predicted, (None, features, blocks))
    costs, constants = [], []
    for image, block, place in blocks[1].nonzero().tolist():
        patch = blocks[0][image, block, place]
        target = features[image, patch]
        for said, into in ((predicted[image, block, place], costs), (features[:, patch].mean(0), constants)):
            gaps = (said - target).abs().tolist()
            into.append(sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps) / 5)
    assert terms["loss"].item() == pytest.approx(sum(costs) / len(costs), rel=1e-5)
    assert terms["trivial"].item() == pytest.approx(sum(constants) / len(constants), rel=1e-5)


def test_the_teacher_is_slow_and_ever_slower_and_has_no_gradient():
    method = make(momentum=0.9)
    method({"images": smooth_images(2)})["loss"].backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    assert all(weight.grad is not None for weight in method.encoder.parameters())
    for progress, kept in ((0.0, 0.9), (0.5, 0.95), (1.0, 1.0)):
        old = method.teacher.network.embed.weight.clone()
        torch.nn.init.normal_(method.encoder.embed.weight)
        method.progress = progress
        method.after_step()
        expected = kept * old + (1 - kept) * method.encoder.embed.weight
        assert torch.allclose(method.teacher.network.embed.weight, expected, atol=1e-6)


def test_the_encoder_ends_as_the_teacher():
    method = make()
    torch.nn.init.normal_(method.encoder.embed.weight)
    method.finish(list)
    view = torch.rand(2, 3, 32, 32)
    assert torch.equal(method.encoder(view), method.teacher(view))


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(momentum=1.0), smooth_images(4), seeds=[0] * 60)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


def test_a_perfect_prediction_shows_the_true_patches():
    method = make()
    visible, (view, features, blocks) = method.hide({"images": smooth_images(3)})
    image = torch.arange(3)[:, None, None]
    columns = method.picture(visible, (view, features, blocks), features[image, blocks[0]])
    assert torch.equal(columns["said"], columns["true"])
    holes = F.max_pool2d((columns["true"] != 0.5).any(1).float(), 4, 4).bool()
    assert torch.equal(holes.flatten(1), torch.zeros(3, 65).scatter(1, listed_in(blocks), 1.0)[:, :64].bool())


def listed_in(blocks):
    """The places of all blocks [n, b * m]; 64 for those that are not real."""
    return blocks[0].where(blocks[1], 64).flatten(1)


def test_it_needs_a_vision_transformer():
    with pytest.raises(UsageError, match="i_jepa takes an encoder of the class ViT, not ConvNet"):
        build(IJEPA, nets.build("convnet", size=32, channels=3), {})


def test_the_predictor_is_told_where_the_context_lies(photos):
    method = make().eval()
    (view, (context, seen), blocks), _ = method.hide(batch(photos, 2))
    method.encoder.tokens = lambda view: torch.ones(len(view), 64, 64)  # so that only the places differ
    said = method.predict((view, (context, seen), blocks))
    moved = method.predict((view, ((context + 8) % 64, seen), blocks))
    assert not torch.allclose(said, moved, atol=1e-4)


def test_views_keep_their_colours_and_are_not_mirrored(monkeypatch):
    images = (torch.arange(3 * 32 * 32).view(1, 3, 32, 32) % 256).byte().repeat(50, 1, 1, 1)
    plain = partial(views.augment, crop=None)
    monkeypatch.setattr(views, "augment", lambda images, rng, crop, **options: plain(images, rng, **options))
    assert torch.allclose(make().hide({"images": images})[0][0], images / 255, atol=1e-5)
