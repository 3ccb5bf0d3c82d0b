import math

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from tests.methods.toys import overfit, smooth_images, told_by_colour
from withhold import data, nets
from withhold.contract import Trial, checks
from withhold.methods.image import deep_cluster
from withhold.methods.image.deep_cluster import DeepCluster, cluster, fill
from withhold.training import prepare


def make(size=32, channels=3, **parameters):
    torch.manual_seed(0)
    return DeepCluster(nets.build("convnet", size=size, channels=channels), **parameters)


@pytest.fixture(scope="module")
def prepared():
    """The method after it has clustered 40 images, and these."""
    images = smooth_images(40)
    method, stream = make(clusters=5, components=8), data.load(images.permute(0, 2, 3, 1).numpy())
    prepare(method, {"images": stream}, 0)
    return method, stream, images


def test_clusters_are_groups_that_anybody_sees_whatever_their_scale():
    rng = torch.Generator().manual_seed(0)
    truth = torch.arange(3).repeat(50)
    directions = torch.linalg.qr(torch.randn(20, 20, generator=rng))[0][:3]
    length = torch.rand(150, 1, generator=rng) + 1  # from the mean, a point's direction alone counts
    features = 7 + 100 * length * directions[truth] + torch.randn(150, 20, generator=rng)
    found = cluster(features, components=2, clusters=3, seed=0)
    assert adjusted_rand_score(truth, found) == 1
    assert torch.equal(found, cluster(features, 2, 3, 0))


def test_an_empty_cluster_takes_half_of_the_largest():
    points = torch.stack([torch.arange(12.0), torch.zeros(12)], 1)
    found = fill(points, torch.tensor([0] * 9 + [2] * 3), 5)
    assert found.bincount(minlength=5).min() > 0
    assert sorted(found.bincount(minlength=5).tolist()) == [2, 2, 2, 3, 3]
    assert (found.diff() != 0).sum() == 4  # and no cluster lies within another
    assert fill(torch.ones(6, 2), torch.zeros(6, dtype=torch.int64), 3).tolist() == [0] * 6


def test_what_can_be_cut_is_cut():
    rng = torch.Generator().manual_seed(0)
    assert fill(torch.tensor([[0.0], [1.0], [1.0]]), torch.zeros(3, dtype=torch.int64), 2).tolist() == [0, 1, 1]
    assert fill(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), 3).tolist() == [0] * 4
    points = torch.cat([torch.ones(50, 2), torch.randn(40, 2, generator=rng)])
    found = fill(points, torch.tensor([0] * 50 + [1] * 40), 6).bincount(minlength=6)
    assert found[0] == 50 and (found[1:] > 0).all()


def test_few_images_are_not_spread_over_as_many_components():
    truth = torch.arange(3).repeat(13)
    features = 10 * torch.eye(3, 20)[truth] + torch.randn(39, 20, generator=torch.Generator().manual_seed(0))
    assert adjusted_rand_score(truth, cluster(features, 64, 3, 0)) == 1


def test_components_count_alike_whatever_their_deviation():
    rng = torch.Generator().manual_seed(0)
    truth = torch.arange(2).repeat(100)
    noise = 10 * torch.randn(200, 1, generator=rng)
    features = torch.cat([noise, torch.eye(2)[truth] + 0.05 * torch.randn(200, 2, generator=rng)], 1)
    assert adjusted_rand_score(truth, cluster(features, 2, 2, 0)) > 0.4
    plain = torch.cat([10 * features[:, :1], features[:, 1:]], 1)
    assert torch.equal(cluster(features, 2, 2, 0), cluster(plain, 2, 2, 0))


def test_clusters_depend_on_the_seed(prepared):
    _, stream, _ = prepared
    found = []
    for seed in (0, 1, 0):
        method = make(clusters=5, components=8)
        prepare(method, {"images": stream}, seed)
        found.append(method.assigned.tolist())
    assert found[0] == found[2] != found[1]


def test_knowing_nothing_costs_by_the_clusters_that_there_are(prepared, monkeypatch):
    _, stream, _ = prepared
    monkeypatch.setattr(deep_cluster, "cluster", lambda *args: torch.arange(40) % 2)
    method = make(clusters=5)
    prepare(method, {"images": stream}, 0)
    assert method.trivial.item() == pytest.approx(math.log(2))


def test_views_are_jittered_and_some_are_grey(prepared):
    method, _, images = prepared
    seen, _ = method.hide({"images": (images, torch.arange(40))})
    grey = (seen.amax(1) - seen.amin(1)).amax((1, 2)) < 1e-3
    assert 1 <= grey.sum() <= 20
    assert told_by_colour(images / 255, seen) < 0.5


def test_fewer_items_than_clusters_are_clusters_of_their_own():
    assert cluster(torch.randn(6, 4), 64, 100, 0).unique().numel() == 6


def test_an_image_is_to_be_put_into_its_own_cluster(prepared):
    method, _, images = prepared
    numbers = torch.tensor([31, 4, 4, 17])
    seen, clusters = method.hide({"images": (images[numbers], numbers)})
    assert seen.shape == (4, 3, 32, 32)
    assert torch.equal(clusters, method.assigned[numbers])
    assert method.assigned.bincount(minlength=5).min() > 0


def test_loss_is_the_cross_entropy_of_the_clusters(prepared):
    method, _, _ = prepared
    scores, clusters = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 4])
    shares = [math.exp(row[k]) / sum(map(math.exp, row)) for row, k in zip(scores.tolist(), clusters, strict=True)]
    assert method.loss(scores, clusters)["loss"].item() == pytest.approx(-sum(map(math.log, shares)) / 6, rel=1e-5)
    alike = method.loss(torch.zeros(6, 5), clusters)
    assert alike["loss"].item() == pytest.approx(alike["trivial"])


def test_every_refresh_starts_the_head_anew_and_says_how_far_the_clusters_have_settled(prepared):
    method, stream, _ = prepared
    before, weight = method.assigned.clone(), method.head.weight.clone()
    buffer = method.assigned
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    prepare(method, {"images": stream}, 1)
    assert method.assigned is buffer  # which the feeder and other processes hold
    assert not torch.equal(weight, method.head.weight)
    assert method.head.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not method.head.bias.any()
    joint = np.zeros((5, 5))
    np.add.at(joint, (before.numpy(), method.assigned.numpy()), 1 / 40)
    first, second = joint.sum(1), joint.sum(0)
    information = sum(p * math.log(p / (first[i] * second[j])) for (i, j), p in np.ndenumerate(joint) if p)
    entropies = [-sum(p * math.log(p) for p in shares if p) for shares in (first, second)]
    assert method.agreement.item() == pytest.approx(2 * information / sum(entropies), abs=1e-5)
    assert method.largest.item() == pytest.approx(second.max())


def test_clusters_are_found_anew_after_an_epoch():
    method = make(size=8)
    assert method.refresh == 100
    method.assigned.resize_(51_200)
    assert method.refresh == 200


def test_batches_have_as_many_of_each_cluster():
    """One large cluster would be most of a batch otherwise, and a constant answer right most of the time."""
    method = make(size=8, clusters=4)
    method.assigned.resize_(100).copy_((torch.arange(100) % 25).clamp(max=3))
    stream = data.load(np.zeros((100, 8, 8, 3), np.uint8))
    for orders, least, most in ((method.order, 8, 8), ({}, 0, 32)):
        feeder = data.Feeder({"images": stream}, method.needs, 32, 0, orders=orders, groups=method.get_buffer)
        counts = method.assigned[feeder.batch(0)["images"][1]].bincount(minlength=4)
        assert least <= counts.min()
        assert counts.max() <= most
        assert (counts.max() > 20) == (not orders)


def test_a_run_that_is_killed_between_two_refreshes_resumes_bit_for_bit(monkeypatch):
    monkeypatch.setattr(DeepCluster, "refresh", 3)
    checks.resume(Trial(DeepCluster, {"clusters": 4}))


def test_clusters_are_learned_by_heart(prepared):
    method, _, images = prepared
    terms = overfit(method, {"images": (images, torch.arange(40))}, seeds=[0] * 25)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


def test_the_picture_names_the_clusters(prepared):
    method, _, images = prepared
    seen, clusters = method.hide({"images": (images[:3], torch.arange(3))})
    columns = method.picture(seen, clusters, torch.eye(5)[clusters])
    assert columns["said"] == columns["true"] == [f"cluster {k}" for k in clusters.tolist()]
