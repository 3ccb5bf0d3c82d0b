import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images
from withhold import nets, views
from withhold.contract import tiny
from withhold.methods.image.swav import SwAV, sinkhorn


def make(**parameters):
    torch.manual_seed(0)
    return SwAV(nets.build("convnet", size=32, channels=3), **parameters)


def divided(scores, rounds=3):
    """Rows and columns in turn, as algorithm 1 of the paper's appendix has it, number by number."""
    n, k = scores.shape
    q = [[math.exp(score) for score in row] for row in scores.tolist()]
    total = sum(map(sum, q))
    q = [[share / total for share in row] for row in q]
    for _ in range(rounds):
        columns = [sum(q[i][j] for i in range(n)) for j in range(k)]
        q = [[q[i][j] / columns[j] / k for j in range(k)] for i in range(n)]
        q = [[share / sum(row) / n for share in row] for row in q]
    return torch.tensor(q) * n


def test_sinkhorn_normalises_prototypes_and_images_in_turn():
    scores = torch.randn(6, 4) * 3
    torch.testing.assert_close(sinkhorn(scores), divided(scores))


def test_sinkhorn_ends_at_the_best_even_division():
    """It sums to 1 in rows and n / k in columns; and what it differs from exp(scores) by are factors of these alone."""
    scores = torch.randn(12, 4)
    shares = sinkhorn(scores, rounds=200)
    torch.testing.assert_close(shares.sum(1), torch.ones(12))
    torch.testing.assert_close(shares.sum(0), torch.full((4,), 3.0))
    factors = shares.log() - scores
    torch.testing.assert_close(factors - factors[:1], (factors[:, :1] - factors[:1, :1]).expand(12, 4))


def test_sinkhorn_bears_large_scores():
    shares = sinkhorn(torch.tensor([[200.0, -200.0], [180.0, -190.0]]), rounds=50)
    torch.testing.assert_close(shares, torch.eye(2), atol=1e-3, rtol=0)


def test_loss_is_the_cross_entropy_of_every_crop_with_the_code_of_every_other_large_one():
    method, n, crops = make(prototypes=4, temperature=0.5, smoothness=0.2, projection=6), 5, 4
    embedded = torch.randn(crops * n, 6)
    cosines = F.normalize(embedded, dim=1) @ F.normalize(method.prototypes.weight.detach(), dim=1).T
    pairs = []
    for large in range(2):
        codes = divided(cosines[large * n : large * n + n] / 0.2).tolist()
        for crop in range(crops):
            if crop != large:
                for image in range(n):
                    weights = [math.exp(cosine / 0.5) for cosine in cosines[crop * n + image].tolist()]
                    pairs.append(
                        -sum(q * math.log(w / sum(weights)) for q, w in zip(codes[image], weights, strict=True))
                    )
    assert len(pairs) == 2 * 3 * n
    terms = method.loss(embedded, torch.arange(n))
    assert terms["loss"].item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-4)
    assert terms["trivial"] == math.log(4)


def test_a_constant_costs_the_trivial_loss():
    method = make(prototypes=8)
    terms = method.loss(torch.ones(16 * 4, 128), torch.arange(16))
    assert terms["loss"].item() >= terms["trivial"]
    assert terms["used"] == 1 / 8
    codes = method.divide(method.prototypes(torch.ones(16, 128)))
    torch.testing.assert_close(codes, torch.full((16, 8), 1 / 8))  # whatever the network says: evenly


def test_no_gradient_flows_through_the_codes():
    method, embedded = make(prototypes=4, projection=6), torch.randn(20, 6, requires_grad=True)
    assert not method.divide(method.prototypes(embedded)).requires_grad


@pytest.mark.parametrize(("size", "given", "small"), [(32, None, 0), (64, None, 2), (64, 0, 0)])
def test_small_crops_are_made_of_images_that_are_not_small(size, given, small):
    torch.manual_seed(0)
    method = SwAV(nets.build("convnet", size=size, channels=3), local_views=given)
    seen, _ = method.hide({"images": random_images(2)})
    shapes = [(4, 3, size, size), (2 * small, 3, size // 2, size // 2)]
    assert [tuple(crops.shape) for crops in seen] == shapes[: 1 + (small > 0)]


def test_crops_are_of_the_paper_s_areas(monkeypatch):
    distort = views.distort
    plainly = lambda images, rng, jitter, **chain: distort(images, rng, jitter=None, **chain)
    monkeypatch.setattr(views, "distort", plainly)
    method = SwAV(nets.build("convnet", size=32, channels=3), local_views=3)
    ramp = torch.linspace(0, 1, 64).expand(100, 3, 64, 64)
    large, small = method.hide({"images": ramp})[0]
    assert (large.amax((1, 2, 3)) - large.amin((1, 2, 3))).min() > 0.35
    assert (small.amax((1, 2, 3)) - small.amin((1, 2, 3))).max() < 0.62
    assert not torch.equal(*large.chunk(2))


def test_crops_of_two_sizes_run_in_one_pass_each():
    method, ran = make(local_views=3), []
    method.encoder.register_forward_pre_hook(lambda _, given: ran.append(tuple(given[0].shape)))
    seen, partners = method.hide({"images": random_images(4)})
    assert method.predict(seen).shape == (20, 128)
    assert ran == [(8, 3, 32, 32), (12, 3, 16, 16)]
    assert torch.equal(partners, torch.arange(4))


def test_a_batch_is_divided_with_earlier_images_once_there_are_enough():
    method = make(prototypes=4, queue=12, projection=6)
    scores = method.prototypes(torch.randn(8, 6)).detach()
    alone = divided(scores / method.smoothness)
    seen = []
    for _ in range(2):
        torch.testing.assert_close(method.divide(scores), alone)
        embedded = torch.randn(4 * 8, 6)
        method.loss(embedded, torch.arange(8))
        method.after_step()
        seen.append(F.normalize(embedded[:8], dim=1))
    keys = torch.cat(seen)[-12:]
    torch.testing.assert_close(method.queue.keys.sum(0), keys.sum(0))
    together = divided(torch.cat([scores, method.prototypes(method.queue.keys).detach()]) / method.smoothness)
    torch.testing.assert_close(method.divide(scores), together[:8])
    method.eval()
    method.loss(torch.randn(4 * 8, 6), torch.arange(8))
    assert not method.fresh  # looking enqueues nothing


class Unequal(SwAV):
    """Its codes are what the network says, divided among the prototypes in no way."""

    @torch.no_grad()
    def divide(self, scores):
        return (scores / self.smoothness).softmax(1)


def test_all_images_at_one_prototype_pay_because_the_division_is_even():
    costs = []
    for cls in (SwAV, Unequal):
        torch.manual_seed(0)
        method = cls(nets.build("convnet", size=32, channels=3), prototypes=16)
        one = method.prototypes.weight[:1].expand(4 * 8, -1)
        costs.append(method.loss(one, torch.arange(8))["loss"].item())
    assert costs[0] > math.log(16) > 100 * costs[1]


def test_a_few_images_are_learned():
    torch.manual_seed(0)
    method = SwAV(nets.build("convnet", size=16, channels=3), prototypes=16)
    terms = overfit(method, tiny.photographs(16).batch(range(64)), seeds=range(30))[-1]
    assert terms["loss"] < 0.8 * terms["trivial"]
    assert terms["accuracy"] > 3 / 16
