"""The context encoder: the hole, its border, and the adversarial loss."""

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import batch
from withhold import nets
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("context_encoder"), nets.build("convnet", size=size, channels=channels), values)


@pytest.mark.parametrize("size", [28, 32, 64])
def test_the_hole_lies_inside_its_square_behind_a_visible_rim(photos, size):
    method = make(size)
    holed, (view, corner) = method.hide(batch(photos))
    rim = max(1, size // 32)
    for i, (top, left) in enumerate(corner.tolist()):
        hidden = torch.zeros(size, size, dtype=torch.bool)
        hidden[top + rim : top + size // 2 - rim, left + rim : left + size // 2 - rim] = True
        assert torch.equal(method.hole(corner)[i, 0], hidden)
        assert torch.equal(holed[i][:, ~hidden], view[i][:, ~hidden])
        assert (holed[i][:, hidden] == 0.5).all()
        expected = view[i][:, top : top + size // 2, left : left + size // 2]
        assert torch.equal(method.square(view, corner)[i], expected)


def test_the_square_lies_anywhere_in_the_image():
    method = make()
    _, (_, corner) = method.hide({"images": torch.zeros(2000, 3, 32, 32, dtype=torch.uint8)})
    counts = torch.stack([corner[:, axis].bincount(minlength=17) for axis in (0, 1)])
    assert counts.shape == (2, 17)
    assert (counts - 2000 / 17).abs().max() < 5 * (2000 / 17) ** 0.5


def test_the_rim_counts_ten_times(photos):
    method = make(size=64, adversarial=0.25)
    _, withheld = method.hide(batch(photos, 3))
    view, corner = withheld
    said = torch.rand(view.shape, generator=torch.Generator().manual_seed(1))
    error = 0.0
    for i, (top, left) in enumerate(corner.tolist()):
        for y in range(32):
            for x in range(32):
                weight = 10 if min(y, x) < 2 or max(y, x) > 29 else 1
                pair = [2 * images[i, :, top + y, left + x] - 1 for images in (said, view)]
                error += weight * ((pair[0] - pair[1]) ** 2).sum().item() / view[:, :, :32, :32].numel()
    method.eval()
    verdict = F.binary_cross_entropy_with_logits(method.discriminator(method.square(said, corner)), torch.ones(3))
    terms = method.loss(said, withheld)
    assert terms["loss"].item() == pytest.approx(0.75 * error + 0.25 * verdict.item(), rel=1e-4)


def test_only_the_square_is_scored(photos):
    method = make(adversarial=0.0)
    holed, (view, corner) = method.hide(batch(photos, 4))
    inside = torch.zeros(4, 1, 32, 32, dtype=torch.bool)
    for i, (top, left) in enumerate(corner.tolist()):
        inside[i, 0, top : top + 16, left : left + 16] = True
    said = method.predict(holed).detach().requires_grad_()
    method.loss(said, (view, corner))["loss"].backward()
    assert ((said.grad != 0) == inside).all()


def test_the_discriminator_is_scored_on_the_generators_squares_and_leaves_it_alone(photos):
    method, handed = make(), {}
    method.seed(3)
    scored = method.turn("generator", batch(photos), handed)["loss"]
    terms = method.turn("discriminator", {}, handed)  # it needs no images but these
    method.seed(3)
    assert torch.equal(method(batch(photos))["loss"], scored)
    method.seed(3)
    holed, (view, corner) = method.hide(batch(photos))
    true = method.discriminator(method.square(view, corner))
    made = method.discriminator(method.square(method.predict(holed), corner))
    expected = F.binary_cross_entropy_with_logits(true, torch.ones(32))
    expected = expected + F.binary_cross_entropy_with_logits(made, torch.zeros(32))
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    terms["loss"].backward()
    assert all(p.grad is not None for p in method.discriminator.parameters())
    assert all(p.grad is None for module in method.players()["generator"] for p in module.parameters())


def test_every_parameter_belongs_to_one_player():
    method = make()
    owned = [id(p) for modules in method.players().values() for module in modules for p in module.parameters()]
    assert sorted(owned) == sorted(id(p) for p in method.parameters())
    assert method.optimizer.keys() == method.players().keys()


def test_a_hole_hears_from_the_whole_image(photos):
    """Far from the hole, beyond the reach of its convolutions, a change of the image changes what fills it."""
    method = make(size=96).eval()
    view = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    changed = view.clone()
    changed[..., 80:, 80:] = 0
    difference = (method.predict(view) - method.predict(changed)).abs()
    assert difference[..., :8, :8].max() > 1e-5


def test_the_middle_is_filled_and_the_rest_is_kept(photos):
    method = make().eval()
    (image,) = batch(photos, 1)["images"]
    shown = {name: value.pixels for name, value in method.apply_to(image).items()}
    around = torch.ones(32, 32, dtype=torch.bool)
    around[9:23, 9:23] = False
    assert torch.allclose(shown["inpainted"][..., around], image[..., around] / 255, atol=1e-6)
    assert (shown["seen"][..., ~around] == 0.5).all()
    assert not (shown["inpainted"][..., ~around] == 0.5).any()


def test_when_training_ends_the_decoder_gets_the_statistics_of_holed_images_and_the_encoder_of_plain_ones(photos):
    method = make().eval()
    plain = batch(photos)["images"] / 255
    method.finish(lambda: [plain, plain.flip(3)])
    alone = make().encoder
    nets.refresh_statistics(alone, [plain, plain.flip(3)])
    assert all(torch.equal(value, alone.state_dict()[key]) for key, value in method.encoder.state_dict().items())
    seen = []
    method.decoder.layers[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.predict(method.hide(batch(photos))[0])
    torch.testing.assert_close(method.decoder.layers[1].running_mean, seen[0].mean((0, 2, 3)), atol=0.05, rtol=0.1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="adversarial must be at least 0 and below 1, not 1"):
        make_with(32, adversarial=1.0)
    with pytest.raises(ValueError, match="use at least 16"):
        make_with(12)


def make_with(size, **values):
    return find("context_encoder")(nets.build("convnet", size=size, channels=3), **values)
