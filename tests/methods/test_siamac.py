import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from withhold import data, nets
from withhold.errors import UsageError
from withhold.methods.image.siamac import Siamac, hard_negatives
from withhold.orders import Tuples
from withhold.training import prepare
from withhold.views.matching import inliers, local_features, same_place


def make(**parameters):
    torch.manual_seed(0)
    return Siamac(nets.build("convnet", size=64, channels=3), **parameters)


@pytest.fixture(scope="module")
def crops():
    """Of each of six places in a photograph four crops of 64 pixels, which overlap."""
    photo = load_sample_images().images[0]
    corners = [(top + 6 * shift, left + 9 * shift) for top in (0, 300) for left in (20, 250, 460) for shift in range(4)]
    return data.load(np.stack([photo[top : top + 96, left : left + 96] for top, left in corners]), size=64)


@pytest.fixture(scope="module")
def prepared(crops):
    method = make()
    prepare(method, {"images": crops}, 0)
    method.eval().conclude(images=crops)
    return method


def test_a_turned_crop_of_a_photograph_matches_it_and_another_place_does_not():
    first, second = (Image.fromarray(photo) for photo in load_sample_images().images)
    shown, other = first.crop((100, 50, 300, 250)), second.crop((100, 50, 300, 250))
    turned = shown.rotate(20).crop((30, 30, 170, 180))
    images = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in (shown, turned, other)]
    features = [local_features(image) for image in images]
    assert inliers(features[0], features[1]) > 30 > 8 > inliers(features[0], features[2])
    assert same_place(images, [(0, 1), (0, 2), (1, 2)], 12) == [(0, 1)]
    grey = [image.float().mean(0, keepdim=True).byte() for image in images]
    assert same_place(grey, [(0, 1), (0, 2)], 12) == [(0, 1)]


def test_an_image_without_points_matches_nothing():
    flat = torch.zeros(3, 40, 40, dtype=torch.uint8)
    assert local_features(flat)[1].shape == (0, 128)
    assert inliers(local_features(flat), local_features(flat)) == 0


def test_pairs_lie_in_one_place_and_negatives_in_others(prepared, crops):
    truth = np.arange(24) // 4
    pairs, places, tuples = (part.numpy() for part in (prepared.pairs, prepared.places, prepared.tuples))
    assert len(pairs) >= 12
    assert (truth[pairs[:, 0]] == truth[pairs[:, 1]]).all()
    assert (places[pairs[:, 0]] == places[pairs[:, 1]]).all()
    assert {tuple(pair) for pair in tuples[:, :2]} <= {tuple(pair) for pair in [*pairs, *pairs[:, ::-1]]}
    assert sorted(tuples[:, 0]) == sorted(set(pairs.flatten()))
    assert (places[tuples[:, 2:]] != places[tuples[:, :1]]).all()


def test_how_long_matching_took_is_said_and_counts_once(crops, caplog):
    method = make()
    with caplog.at_level("INFO"):
        prepare(method, {"images": crops}, 0)
    assert method.once > 0
    assert re.search(r"matched images once: \d+ pairs with shared points, from \d+ places, in \d+ s", caplog.text)


def test_pairs_are_verified_once_and_negatives_found_again(prepared, crops, monkeypatch):
    monkeypatch.setattr(Siamac, "verify", lambda *_: pytest.fail("verified again"))
    method = make()
    method.load_state_dict(prepared.state_dict())
    torch.nn.init.normal_(next(method.encoder.parameters()))
    prepare(method, {"images": crops}, 1)
    assert torch.equal(method.pairs, prepared.pairs)
    assert method.tuples.shape == prepared.tuples.shape and not torch.equal(method.tuples, prepared.tuples)
    assert method.refresh == max(20, len(method.tuples) // 5)


@pytest.mark.parametrize("count", [9, 3])
def test_hard_negatives_are_the_nearest_of_each_other_place(count):
    rng = np.random.default_rng(0)
    x, places = (
        F.normalize(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), dim=1),
        rng.integers(count, size=40),
    )
    for query, found in zip((3, 17), hard_negatives(x, np.array([3, 17]), places), strict=True):
        others = [place for place in set(places) if place != places[query]]
        near = {place: min(np.flatnonzero(places == place), key=lambda i: (x[i] - x[query]).norm()) for place in others}
        expected = sorted(near.values(), key=lambda i: (x[i] - x[query]).norm())
        assert found[: len(expected)].tolist() == expected[:5]
        assert len(set(found)) == 5 and (places[found] != places[query]).all()


def test_the_loss_is_the_papers_pair_by_pair():
    method, n = make(margin=0.9), 3
    x = F.normalize(torch.randn(7 * n, 5, generator=torch.Generator().manual_seed(0)).abs(), dim=1)
    same = torch.tensor([[True] + [False] * 5] * n)
    expected, active = 0.0, []
    for item in range(n):
        query, *others = x[7 * item : 7 * item + 7]
        for number, other in enumerate(others):
            d = (query - other).square().sum().sqrt().item()
            expected += d**2 / 2 if number == 0 else max(0, 0.9 - d) ** 2 / 2
            active += [d < 0.9] if number else []
    terms = method.loss(x, same)
    assert terms["loss"].item() == pytest.approx(expected / n, rel=1e-5)
    assert terms["active"].item() == pytest.approx(np.mean(active))
    apart = [d**2 / 2 + 5 / 2 * max(0, method.margin - d) ** 2 for d in np.linspace(0, 2, 10_000)]
    assert terms["trivial"] == pytest.approx(min(apart), rel=1e-4)


@pytest.mark.parametrize("pooling", ["MAC", "GeM", "R-MAC"])
def test_descriptors_are_the_pooled_maps(pooling):
    method, images = make(pooling=pooling).eval(), torch.rand(2, 3, 64, 64)
    expected = F.normalize(nets.POOLINGS[pooling](method.encoder.maps(images)), dim=1)
    assert torch.allclose(method.describe(images), expected, atol=1e-6)
    assert not method.says()  # no whitening was learned


def test_the_whitening_is_that_of_the_pairs_and_the_final_network(prepared, crops):
    with torch.no_grad():
        for weight in prepared.encoder.parameters():
            weight.mul_(1.1)
    prepared.eval().conclude(images=crops)
    with torch.no_grad():
        x = prepared.eval().describe(crops.batch(range(24)) / 255)
    mean, projection = nets.pair_whitening(x, *prepared.pairs.T)
    said = nets.rows(prepared, prepared.says()["descriptor"], crops, "cpu")
    assert torch.allclose(said, F.normalize((x - mean) @ projection, dim=1), atol=1e-3)


def test_tuples_stay_whole_and_come_once_before_they_come_again():
    order, tuples = Tuples(size=3), np.arange(15).reshape(5, 3)
    found = order.epoch(24, tuples, 6, np.random.default_rng(0)).reshape(-1, 3)
    assert (np.diff(found) == 1).all() and (found[:, 0] % 3 == 0).all()
    assert sorted(found[:5, 0]) == [0, 3, 6, 9, 12]
    with pytest.raises(UsageError, match=r"cannot hold whole tuples of 3\. Give a batch size of 3"):
        order.epoch(20, tuples, 10, np.random.default_rng(0))


def test_images_of_one_place_or_none_are_refused(crops):
    for chosen, found in ((range(16, 20), "and 1 places among 4"), (range(0, 24, 4), "found 0 pairs")):
        with pytest.raises(UsageError, match=found):
            prepare(make(), {"images": crops.select(chosen)}, 0)


def test_without_opencv_there_is_a_sentence(crops, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"needs OpenCV, which is not installed: pip install 'withhold\[match\]'"):
        prepare(make(), {"images": crops}, 0)
