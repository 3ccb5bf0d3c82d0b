import math

import pytest
import torch

from tests.methods.toys import overfit, smooth_images
from withhold import nets
from withhold.methods.image.lejepa import LeJEPA


def make(**parameters):
    torch.manual_seed(0)
    return LeJEPA(nets.build("convnet", size=32, channels=3), **parameters)


def epps_pulley(projected):
    """Of numbers [n]: n times the integral over t from -3 to 3 of |mean(e^itx) - e^(-t^2/2)|^2 e^(-t^2/2) dt."""
    total, cells = 0.0, 600
    for cell in range(cells):
        t = -3 + (cell + 0.5) * 6 / cells
        gauss = math.exp(-t * t / 2)
        real = sum(math.cos(t * x) for x in projected) / len(projected) - gauss
        imaginary = sum(math.sin(t * x) for x in projected) / len(projected)
        total += (real**2 + imaginary**2) * gauss * 6 / cells
    return len(projected) * total


def test_loss_is_distance_from_the_mean_view_and_from_a_gaussian():
    method = make(views=3, balance=0.2, projection=1)
    embedded = torch.randn(3 * 7, 1) * 0.6
    z = embedded.view(3, 7).tolist()
    spread = sum((z[v][i] - sum(z[u][i] for u in range(3)) / 3) ** 2 for v in range(3) for i in range(7)) / 21
    departure = sum(epps_pulley(view) for view in z) / 3  # in one dimension all directions are one
    terms = method.loss(embedded, torch.arange(7).repeat(3))
    assert terms["disagreement"].item() == pytest.approx(spread, rel=1e-4)
    assert terms["sigreg"].item() == pytest.approx(departure, rel=1e-2)
    assert terms["loss"].item() == pytest.approx(0.8 * spread + 0.2 * departure, rel=1e-2)


def test_directions_are_drawn_from_the_seed():
    method, embedded, shown = make(), torch.randn(4 * 16, 32) * 2, torch.arange(16).repeat(4)

    def loss(seed):
        method.seed(seed)
        return method.loss(embedded, shown)["loss"].item()

    assert loss(1) == loss(1) != loss(2)


@pytest.mark.parametrize("n", [32, 256])
def test_nothing_that_ignores_the_image_costs_less_than_the_trivial_loss(n):
    method = make()
    shown = torch.arange(n).repeat(4)
    trivial = method.loss(torch.zeros(4 * n, 32), shown)["trivial"].item()
    noise = torch.randn(4 * n, 32, generator=torch.Generator().manual_seed(0))
    costs = [method.loss(noise * scale, shown)["loss"].item() for scale in (0, 0.25, 0.5, 0.75, 0.9, 1, 1.5)]
    assert min(costs) > 0.95 * trivial
    assert min(costs) < 1.1 * trivial
    informed = torch.randn(n, 32).repeat(4, 1) + 0.1 * noise
    assert method.loss(informed, shown)["loss"] < 0.5 * trivial


def test_views_of_an_image_stand_at_the_same_place_of_every_round():
    method = make(views=3)
    colours = torch.randint(0, 256, (8, 1, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    seen, shown = method.hide({"images": colours.expand(8, 3, 32, 32)})
    assert seen.shape == (24, 3, 32, 32)
    assert torch.equal(shown, torch.arange(8).repeat(3))


def test_the_gradient_reaches_every_view():
    """No view is a target whose gradient is stopped."""
    embedded = torch.randn(4 * 8, 32, requires_grad=True)
    make().loss(embedded, torch.arange(8).repeat(4))["disagreement"].backward()
    z = embedded.detach().view(4, 8, 32)
    assert torch.allclose(embedded.grad.view(4, 8, 32), 2 * (z - z.mean(0)) / z.numel(), atol=1e-7)


def test_a_few_images_are_learned_by_heart_without_collapse():
    method = make(views=2, slices=64)
    images = smooth_images(32)
    terms = overfit(method, images, seeds=range(60))[-1]
    assert terms["loss"] < terms["trivial"]
    assert terms["accuracy"] > 0.1  # chance is 1 / 32
    assert method.predict(method.hide({"images": images})[0]).std(0).mean() > 0.3


def test_half_precision_changes_the_loss_by_rounding_only():
    method, embedded, shown = make(), torch.randn(4 * 64, 32), torch.arange(64).repeat(4)
    method.seed(0)
    whole = method.loss(embedded, shown)["loss"].item()
    method.seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        half = method.loss(embedded.bfloat16(), shown)["loss"]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(whole, rel=1e-2)
