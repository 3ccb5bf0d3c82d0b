import pytest
import torch

from tests.methods.toys import overfit, smooth_images
from withhold import losses, nets, training
from withhold.contract import Trial
from withhold.methods.image.simsiam import SimSiam
from withhold.training import Plan, findings, fit


def make(**parameters):
    torch.manual_seed(0)
    return SimSiam(nets.build("convnet", size=32, channels=3), **parameters)


class Followed(SimSiam):
    """SimSiam whose targets follow the predictions, as the paper tries it in section 4.1."""

    name = "followed"

    def loss(self, predicted, partners):
        said, embedded = predicted
        loss = losses.regression(said, embedded.roll(len(partners), 0)) / 2
        return {"loss": loss, "directions": losses.directions(embedded)}


def test_loss_is_one_minus_the_cosine_with_the_other_views_embedding():
    said, embedded = torch.randn(10, 8), torch.randn(10, 8)
    total = 0.0
    for i in range(5):  # the first views' predictions of the second ones' embeddings, and the other way
        for p, z in ((said[i], embedded[i + 5]), (said[i + 5], embedded[i])):
            total += p.dot(z).item() / (p.norm() * z.norm()).item() / 10
    assert make().loss((said, embedded), torch.arange(5))["loss"].item() == pytest.approx(1 - total, rel=1e-5)


def test_trivial_is_what_the_best_constant_costs():
    method, embedded = make(), torch.randn(40, 3) + torch.tensor([1.0, 0, 0])
    trivial = method.loss((torch.randn(40, 3), embedded), torch.arange(20))["trivial"].item()
    constants = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    costs = [method.loss((c.expand(40, 3), embedded), torch.arange(20))["loss"].item() for c in constants]
    assert min(costs) - 0.01 < trivial <= min(costs) + 1e-6


def test_no_gradient_flows_through_what_is_predicted():
    said, embedded = torch.randn(10, 8, requires_grad=True), torch.randn(10, 8, requires_grad=True)
    make().loss((said, embedded), torch.arange(5))["loss"].backward()
    assert said.grad.abs().sum() > 0
    assert embedded.grad is None


def test_accuracy_is_how_many_first_views_find_their_second():
    method, embedded = make(), torch.randn(12, 8)
    right = embedded.roll(6, 0)
    assert method.loss((right, embedded), torch.arange(6))["accuracy"] == 1
    assert method.loss((right, embedded), torch.arange(6).flip(0))["accuracy"] == 0


def test_views_are_in_two_rounds_of_the_images():
    colours = (torch.arange(6, dtype=torch.uint8) * 50).view(6, 1, 1, 1).expand(6, 3, 32, 32)
    seen, partners = make().hide({"images": colours})
    assert seen.shape == (12, 3, 32, 32)
    assert torch.equal(partners, torch.arange(6))


def test_the_projector_ends_and_the_predictor_does_not_end_with_batch_normalisation():
    said, embedded = make(projection=16).predict(torch.rand(64, 3, 32, 32))
    torch.testing.assert_close(embedded.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(embedded.std(0, correction=0), torch.ones(16), atol=1e-2, rtol=0)
    assert said.mean(0).abs().max() > 1e-2
    method = make(projection=16)
    torch.testing.assert_close(method.predictor(3 * embedded), method.predictor(embedded), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(("cls", "collapses"), [(SimSiam, False), (Followed, True)])
def test_without_the_stopped_gradient_it_collapses_and_the_monitor_says_so(cls, collapses):
    trial = Trial(cls, size=16)
    method = trial.make()
    found = findings(fit(method, trial.feed(method), Plan(steps=80, lr=0.8)).rows)
    assert any("collapsed onto a line" in sentence for sentence in found) == collapses


def test_a_few_images_are_learned_without_collapse():
    method, images = make(), smooth_images(32)
    last = overfit(method, images, seeds=range(60))[-10:]
    assert sum(terms["trivial"] - terms["loss"] for terms in last) > 0
    assert training.spread(method.predict(method.hide({"images": images})[0])[1]) > 0.5
