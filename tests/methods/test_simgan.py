"""SimGAN: the refiner's losses, the discriminator's input, and images that keep their layout."""

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import random_images
from withhold import nets
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    values = {"width": 8, "blocks": 1, "warmup": 0} | values
    return build(find("simgan"), nets.build("convnet", size=size, channels=channels), values)


def domains(n=6, size=32, channels=3):
    """Noise, and noise that is half as bright."""
    return {"simulated": random_images(n, 1, size, channels), "real": random_images(n, 2, size, channels) // 2}


def test_the_refiner_is_judged_at_places_and_held_to_its_images():
    method = make(weight=3.0)
    visible, simulated = method.hide(domains())
    refined = method.refiner(simulated)
    terms = method.loss(method.predict(visible), simulated)
    real = visible[1]
    scores = method.head(method.encoder.maps(torch.cat([real, refined])))[6:]
    assert scores.shape == (6, 1, 4, 4)
    adversarial = -torch.sigmoid(scores).log().sum() / (6 * 16)
    change = F.l1_loss(2 * refined - 1, 2 * simulated - 1)
    assert terms["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-4)
    assert terms["loss"].item() == pytest.approx((adversarial + 3 * change).item(), rel=1e-4)


def test_the_refiner_copies_before_it_listens():
    method = make(warmup=2, weight=3.0)
    visible, simulated = method.hide(domains())
    heard = []
    for _ in range(4):
        terms = method.loss(method.predict(visible), simulated)
        heard.append(terms["loss"].item() - 3 * terms["change"].item() > 0.1)
        method.after_step()
    assert heard == [False, False, True, True]
    short = make(warmup=200, weight=3.0)
    short.progress = 0.25  # of a training of fewer steps than it would only copy in
    terms = short.loss(short.predict(visible), simulated)
    assert terms["loss"].item() - 3 * terms["change"].item() > 0.1
    other = make(warmup=2)
    other.load_state_dict(method.state_dict())
    assert other.steps == 4


def test_the_adversary_tells_real_images_from_those_refined_now_and_earlier():
    method = make(pool=6)
    handed = {}
    method.seed(1)
    method.turn("refiner", domains(), handed)
    assert not handed["refined"].requires_grad
    method.seed(1)
    torch.testing.assert_close(handed["refined"], method.predict(method.hide(domains())[0])[0].detach())
    terms = method.turn("adversary", domains(), handed)
    true, false = method.head(method.encoder.maps(torch.cat([handed["real"], handed["refined"]]))).chunk(2)
    expected = F.binary_cross_entropy_with_logits(true, torch.ones_like(true))
    expected += F.binary_cross_entropy_with_logits(false, torch.zeros_like(false))
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(method.pool.images, handed["refined"])  # it was empty
    shown = []
    judge, method.judge = method.judge, lambda real, refined: shown.append(refined) or judge(real, refined)
    later = {"real": handed["real"], "refined": torch.zeros_like(handed["refined"])}
    method.seed(0)
    method.turn("adversary", domains(), later)
    known = [any(torch.equal(image, old) for old in handed["refined"]) for image in shown[0]]
    assert 0 < sum(known) < 6
    assert all(old or not image.any() for old, image in zip(known, shown[0], strict=True))


def test_both_players_learn_their_own():
    method = make()
    handed = {}
    for player in method.players():
        method.zero_grad()
        for other, modules in method.players().items():
            for module in modules:
                module.requires_grad_(other == player)
        method.turn(player, domains(), handed)["loss"].backward()
        learned = [weight.grad is not None for weight in method.refiner.parameters()]
        judged = [weight.grad is not None for weight in method.encoder.parameters()]
        assert all(learned) == (player == "refiner") == (not any(judged))


def test_a_refined_pixel_knows_its_surroundings_alone():
    """Nothing is scaled down or moved: with one block without norms it sees three pixels to each side."""
    refiner = nets.Refiner(1, 8, 1)
    for block in refiner.modules():
        if isinstance(block, torch.nn.InstanceNorm2d):
            block.forward = lambda x: x
    image = torch.rand(1, 1, 21, 17, requires_grad=True)
    refined = refiner(image)
    assert refined.shape == image.shape
    (slope,) = torch.autograd.grad(refined[0, 0, 10, 8], image)
    rows, columns = slope[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 13, 5, 11)
    assert 0 <= refined.min() < refined.max() <= 1


@pytest.mark.parametrize(("weight", "warmup"), [(0.5, 0), (0.5, 1000)])
def test_simulated_images_come_to_look_real_once_the_adversary_is_heard(weight, warmup):
    """Bright ones become dim, where the real ones are; before that they stay what they are."""
    method = make(size=16, channels=1, weight=weight, warmup=warmup)
    bright = F.interpolate(random_images(8, 0, 4, 1).float(), 16, mode="bilinear") / 255 * 0.5 + 0.5
    batch = {"simulated": (bright * 255).byte(), "real": (bright.flip(0) * 100).byte()}
    optimizers = {
        player: torch.optim.Adam([p for module in modules for p in module.parameters()], 2e-3, betas=(0.5, 0.999))
        for player, modules in method.players().items()
    }
    for step in range(60):
        method.seed(step)
        handed = {}
        for player, optimizer in optimizers.items():
            optimizer.zero_grad()
            method.turn(player, batch, handed)["loss"].backward()
            optimizer.step()
        method.after_step()
    found = [method.eval().apply_to(image) for image in batch["simulated"]]
    seen, refined = (torch.stack([answer[name].pixels for answer in found]) for name in ("seen", "refined"))
    if warmup:
        assert (refined - seen).abs().mean() < 0.15
    else:
        assert refined.mean() < seen.mean() - 0.15
