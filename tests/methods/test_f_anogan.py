"""f-AnoGAN: the anomaly score, the critic's training, and an encoder that does not change the generator."""

import pytest
import torch

from tests.methods.toys import batch, random_images, smooth_images
from withhold import nets
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("f_anogan"), nets.build("convnet", size=size, channels=channels), {"code": 8} | values)


def freeze(method, but):
    """As the trainer does while a player plays."""
    for player, modules in method.players().items():
        for module in modules:
            module.requires_grad_(player == but)


def gradients(method, player):
    return [weight.grad for module in method.players()[player] for weight in module.parameters()]


def test_the_error_is_that_of_pixels_and_of_the_critics_features():
    method = make(size=16, features=0.3).eval()
    said, images = torch.rand(2, 3, 3, 16, 16)
    f = lambda image: method.critic.layers[:-2](2 * image[None] - 1)
    expected = [
        ((2 * a - 1) - (2 * b - 1)).square().mean().item() + 0.3 * (f(a) - f(b)).square().mean().item()
        for a, b in zip(said, images, strict=True)
    ]
    assert method.strangeness(said, images).tolist() == pytest.approx(expected, rel=1e-4)
    assert method.loss(said, images)["loss"].item() == pytest.approx(sum(expected) / 3, rel=1e-4)
    assert method.loss(images, images)["loss"] == 0
    alike = images.mean(0).expand_as(images)
    assert method.loss(said, images)["trivial"].item() == method.strangeness(alike, images).mean().item()


def test_the_critic_and_the_generator_play_as_in_wgan_gp():
    method, handed = make(size=16), {}
    for player in method.players():
        method.seed(3)
        loss = method.turn(player, {"images": random_images(6, size=16)}, handed)["loss"]
        codes = torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
        made = method.generator(codes).detach()
        if player == "generator":
            torch.testing.assert_close(handed["made"], made)
            assert not handed["made"].requires_grad
            assert loss.item() == pytest.approx(-method.critic(made).mean().item(), abs=1e-5)
        if player == "critic":
            share = torch.rand(6, 1, 1, 1, generator=torch.Generator().manual_seed(3))
            made, true = handed["made"], handed["true"]
            between = (true + share * (made - true)).requires_grad_()
            penalty = 0.0
            for i in range(6):
                (slope,) = torch.autograd.grad(method.critic(between)[i], between)
                assert slope[torch.arange(6) != i].abs().max() == 0, "the score of an image is its own"
                penalty += (slope.norm().item() - 1) ** 2 / 6
            expected = method.critic(made).mean() - method.critic(true).mean() + 10 * penalty
            assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("player", ["encoder", "critic", "generator"])
def test_a_player_learns_alone(player):
    method, handed = make(size=16), {}
    images = {"images": random_images(6, size=16)}
    for before in ("encoder", "generator"):
        method.turn(before, images, handed)
    freeze(method, player)
    method.turn(player, images, handed)["loss"].backward()
    for other in method.players():
        slopes = gradients(method, other)
        assert all(slope is not None for slope in slopes) if other == player else all(s is None for s in slopes)


def test_the_generator_stands_still_while_the_encoder_learns():
    """Also its batch statistics; and what it makes of a code does not depend on other codes."""
    method = make(size=16).train()
    method.turn("generator", {}, {"true": torch.rand(6, 3, 16, 16)})
    before = {name: value.clone() for name, value in method.generator.state_dict().items()}
    method.turn("encoder", {"images": random_images(6, size=16)}, {})
    assert all(torch.equal(before[name], value) for name, value in method.generator.state_dict().items())
    codes = torch.randn(4, 8)
    torch.testing.assert_close(method.generator(codes)[:2], method.generator(codes[:2]))
    method.turn("generator", {}, {"true": torch.rand(6, 3, 16, 16)})
    assert any(not torch.equal(before[name], value) for name, value in method.generator.state_dict().items())
    method.eval().turn("generator", {}, {"true": torch.rand(6, 3, 16, 16)})
    assert not method.generator.training


def test_no_code_leaves_the_place_where_the_generator_learned():
    method = make().eval()
    method.code[1].weight.data *= 1000
    codes = method.code(method.encoder.maps(random_images(5) / 255))
    assert codes.abs().max() <= 1
    assert codes.abs().min() > 0.9


def test_every_parameter_belongs_to_one_player():
    method = make()
    owned = [id(p) for modules in method.players().values() for module in modules for p in module.parameters()]
    assert sorted(owned) == sorted(id(p) for p in method.parameters())
    assert method.optimizer.keys() == method.players().keys()
    assert all(recipe.weight_decay == 0 for recipe in method.optimizer.values())


def test_normal_images_are_learned_and_others_are_strange():
    """Of dim images in the game, a bright one is not made."""
    method = make(size=16, channels=1)
    dim = smooth_images(16, 16, 1) // 3
    optimizers = {
        player: torch.optim.Adam([p for module in modules for p in module.parameters()], 2e-3, betas=(0.5, 0.9))
        for player, modules in method.players().items()
    }
    for step in range(40):
        method.seed(step)
        handed = {}
        for player, optimizer in optimizers.items():
            freeze(method, player)
            optimizer.zero_grad()
            method.turn(player, {"images": dim}, handed)["loss"].backward()
            optimizer.step()
    anomaly = method.eval().says()["anomaly"]
    with torch.inference_mode():
        assert anomaly(1 - dim / 255).min() > 3 * anomaly(dim / 255).max()


def test_what_is_strange_is_shown(photos):
    method = make().eval()
    (image,) = batch(photos, 1)["images"]
    with torch.inference_mode():
        shown = method.apply_to(image)
        said = method.predict(image[None] / 255)
    torch.testing.assert_close(shown["seen"].pixels, image / 255)
    torch.testing.assert_close(shown["normal"].pixels, said[0])
    torch.testing.assert_close(shown["difference"].pixels, (said[0] - image / 255).abs())
    assert float(shown["anomaly"]) == pytest.approx(method.strangeness(said, image[None] / 255).item(), abs=1e-4)


def test_what_does_not_fit_is_refused():
    for wrong, words in (({"code": 0}, "code"), ({"features": -1.0}, "features")):
        with pytest.raises(ValueError, match=f"{words} must be at least"):
            find("f_anogan")(nets.build("convnet", size=32, channels=3), **wrong)


def test_the_encoder_learns_from_the_critics_features_too():
    method = make(size=16, features=1.0).eval()
    said, images = torch.rand(2, 2, 3, 16, 16)
    said.requires_grad_()
    (whole,) = torch.autograd.grad(method.loss(said, images)["loss"], said)
    f = lambda image: method.critic.layers[:-2](2 * image - 1)
    written = (4 * (said - images).square()).mean() + (f(said) - f(images)).square().mean()
    (expected,) = torch.autograd.grad(written, said)
    torch.testing.assert_close(whole, expected)
    (pixels,) = torch.autograd.grad((4 * (said - images).square()).mean(), said)
    assert not torch.allclose(whole, pixels, rtol=0.05)


def test_the_critic_normalises_each_image_by_itself_as_a_whole():
    norms = [part for part in make().critic.modules() if isinstance(part, torch.nn.GroupNorm)]
    assert norms and all(norm.num_groups == 1 for norm in norms)
