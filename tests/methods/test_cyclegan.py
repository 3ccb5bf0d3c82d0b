"""CycleGAN: the losses, the players that they train, and the baseline of copying."""

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import random_images
from withhold import nets
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("cyclegan"), nets.build("convnet", size=size, channels=channels), {"width": 4} | values)


def domains(n=6, size=36):
    """Noise, and noise that is half as bright."""
    return {"first": random_images(n, seed=1, size=size), "second": random_images(n, seed=2, size=size) // 2}


def freeze(method, player):
    """As the trainer does while another player plays."""
    for module in method.players()[player]:
        module.requires_grad_(False)


def gradients(method, player):
    return [p.grad for module in method.players()[player] for p in module.parameters()]


@pytest.mark.parametrize(("flip", "ways"), [(0.5, {False, True}), (0.0, {False})])
def test_a_view_is_a_window_of_256_in_286_pixels_or_its_mirror_image(flip, ways):
    method, batch = make(flip=flip), domains(size=36)
    both, again = method.hide(batch)
    assert both is again
    found = set()
    for view, image in zip(both, torch.cat([batch["first"], batch["second"]]).float() / 255, strict=True):
        places = [
            (y, x, mirrored)
            for y in range(5)
            for x in range(5)
            for mirrored in (False, True)
            if torch.allclose(view.flip(2) if mirrored else view, image[:, y : y + 32, x : x + 32], atol=1e-4)
        ]
        assert len(places) == 1
        found |= set(places)
    assert len(found) > 6
    assert {mirrored for *_, mirrored in found} == ways
    assert round(36 * 256 / 286) == 32


def test_the_losses_are_those_of_the_paper():
    """Each direction on its own, with every generator run on every image that the formula names."""
    method = make(cycle=7.0, identity=0.3)
    both, _ = method.hide(domains())
    x, y = both.chunk(2)
    g, f = method.to_second, method.to_first
    terms = method.loss(method.predict(both), both)
    scale = lambda image: 2 * image - 1
    scores = method.head(method.encoder.maps(torch.cat([x, y, f(y), g(x)])))
    adversarial = F.mse_loss(scores[18:, 1], torch.ones(6, 4, 4)) + F.mse_loss(scores[12:18, 0], torch.ones(6, 4, 4))
    cycle = F.l1_loss(scale(f(g(x))), scale(x)) + F.l1_loss(scale(g(f(y))), scale(y))
    identity = F.l1_loss(scale(g(y)), scale(y)) + F.l1_loss(scale(f(x)), scale(x))
    change = F.l1_loss(scale(g(x)), scale(x)) + F.l1_loss(scale(f(y)), scale(y))
    expected = {"adversarial": adversarial, "cycle": cycle, "identity": identity, "change": change}
    expected["loss"] = adversarial + 7 * cycle + 7 * 0.3 * identity
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_discriminators_tell_the_true_images_of_each_domain_from_those_made():
    method = make()
    method.seed(3)
    handed = {}
    method.turn("generators", domains(), handed)
    both, made = handed["both"], handed["made"]
    assert not made.requires_grad
    terms = method.turn("discriminators", domains(), handed)
    x, y = both.chunk(2)
    assert torch.equal(made, torch.cat([method.to_first(y), method.to_second(x)]))
    scores = method.head(method.encoder.maps(torch.cat([x, y, made]))).unflatten(0, (4, -1))
    true, false = (scores[0, :, 0], scores[1, :, 1]), (scores[2, :, 0], scores[3, :, 1])
    expected = sum((s - 1).square().mean() / 2 for s in true) + sum(s.square().mean() / 2 for s in false)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    right = sum((s > 0.5).float().mean() for s in true) + sum((s < 0.5).float().mean() for s in false)
    assert terms["accuracy"].item() == pytest.approx(right.item() / 4)


def test_discriminators_are_shown_what_the_pools_remember():
    method = make(pool=4)
    for step in range(8):
        method.seed(step)
        method.turn("generators", domains(), {})
        method.after_step()
    assert [int(pool.filled) for pool in method.pools] == [0, 0]  # only the discriminators' turn fills them
    old = torch.rand(2, 4, 3, 32, 32)
    for pool, images in zip(method.pools, old, strict=True):
        pool.swap(images, method.rng)
    shown = []
    method.judge = lambda true, made: shown.append(made) or torch.zeros(2, 12, 4, 4)
    handed = {"both": torch.zeros(12, 3, 32, 32), "made": torch.full((12, 3, 32, 32), 2.0)}
    method.turn("discriminators", domains(), handed)
    for half, images in zip(shown[0].chunk(2), old, strict=True):
        kinds = [(image == 2).all() or any(torch.equal(image, remembered) for remembered in images) for image in half]
        assert all(kinds)
        assert 0 < sum((image == 2).all().item() for image in half) < 6


def test_the_generators_learn_through_the_discriminators_which_do_not():
    method = make(cycle=0.0)  # so that the verdict is all there is to learn from
    freeze(method, "discriminators")
    method.turn("generators", domains(), {})["loss"].backward()
    assert all(gradient is None for gradient in gradients(method, "discriminators"))
    assert all(gradient.abs().sum() > 0 for gradient in gradients(method, "generators"))


def test_the_discriminators_turn_leaves_the_generators_alone():
    method = make()
    handed = {}
    method.turn("generators", domains(), handed)
    method.turn("discriminators", domains(), handed)["loss"].backward()
    assert all(gradient is None for gradient in gradients(method, "generators"))
    assert all(gradient.abs().sum() > 0 for gradient in gradients(method, "discriminators"))


def test_every_parameter_belongs_to_one_player():
    method = make()
    owned = [id(p) for modules in method.players().values() for module in modules for p in module.parameters()]
    assert sorted(owned) == sorted(id(p) for p in method.parameters())


def test_copying_closes_the_cycle_and_is_seen():
    method = make()
    method.to_first = method.to_second = torch.nn.Identity()
    both, _ = method.hide(domains())
    terms = method.loss(method.predict(both), both)
    assert terms["cycle"] == terms["identity"] == terms["change"] == 0
    assert terms["loss"] == terms["adversarial"] > 0


def test_trivial_is_what_the_best_fixed_images_cost():
    method = make()
    both, _ = method.hide(domains(7))
    predicted = method.predict(both)
    trivial = method.loss(predicted, both)["trivial"].item()

    def cost(fixed):
        """Of one image [3, 32, 32] for each domain, returned whatever comes, and judged as now."""
        returned = torch.cat([image.expand(7, -1, -1, -1) for image in fixed])
        terms = method.loss((returned, returned, returned, predicted[3]), both)
        return terms["loss"].item()

    best = [half.median(0).values for half in both.chunk(2)]
    assert cost(best) == pytest.approx(trivial, rel=1e-5)
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        assert cost([image + 0.05 * torch.randn(image.shape, generator=rng) for image in best]) > trivial
    assert cost([half.mean(0) for half in both.chunk(2)]) > trivial


def test_the_encoder_normalises_true_and_made_images_together():
    """Judged apart, an image that is all dim would look like one that is all bright, but for its rim."""
    method, batches = make(), []
    method.encoder.blocks.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0]))
    handed = {}
    for player in method.players():
        method.turn(player, domains(), handed)
    assert [len(batch) for batch in batches] == [24, 24]
    torch.testing.assert_close(batches[0], batches[1])  # the pools still give back what they get


def test_a_trained_method_translates_from_the_first_domain_and_back():
    method = make(size=28, channels=1).eval()
    (image,) = random_images(1, size=40, channels=3)
    shown = {name: value.pixels[None] for name, value in method.apply_to(image).items()}
    assert {image.shape for image in shown.values()} == {(1, 1, 28, 28)}
    torch.testing.assert_close(shown["translated"], method.to_second(shown["seen"]))
    torch.testing.assert_close(shown["back"], method.to_first(shown["translated"]))


def test_the_picture_shows_translations_and_cycles_beside_their_images():
    method = make().eval()
    both, withheld = method.hide(domains())
    x, y = both.chunk(2)
    columns = method.picture(both, withheld, method.predict(both))
    g, f = method.to_second, method.to_first
    torch.testing.assert_close(columns["translated"], torch.cat([g(x), f(y)]))
    torch.testing.assert_close(columns["back"], torch.cat([f(g(x)), g(f(y))]))
    assert torch.equal(columns["seen"], both)


def test_a_few_images_are_translated():
    """Dim images become bright and bright ones dim, which neither the cycle nor copying asks for."""
    method = make(width=8, blocks=1)
    bright = F.interpolate(random_images(4, size=6).float(), 32, mode="bilinear") / 255 * 0.5 + 0.5
    batch = {"first": (bright * 100).byte(), "second": (bright * 255).byte()}
    optimizers = {
        player: torch.optim.Adam([p for module in modules for p in module.parameters()], 2e-3, betas=(0.5, 0.999))
        for player, modules in method.players().items()
    }
    for step in range(40):
        method.seed(step)
        handed = {}
        for player, optimizer in optimizers.items():
            terms = method.turn(player, batch, handed)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
        method.after_step()
    found = [method.eval().apply_to(image) for image in batch["first"]]
    shown = {name: torch.stack([answer[name].pixels for answer in found]) for name in found[0]}
    assert shown["seen"].mean() < 0.35
    assert shown["translated"].mean() > 0.6
    assert (shown["back"] - shown["seen"]).abs().mean() < 0.1


@pytest.mark.parametrize(
    "wrong", [{"cycle": -1.0}, {"identity": -0.5}, {"pool": 0}, {"width": 0}, {"blocks": 0}, {"flip": 1.5}]
)
def test_a_value_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        find("cyclegan")(nets.build("convnet", size=32, channels=3), **wrong)
