import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

import withhold
from tests.methods.toys import overfit, random_images, tinted_images
from withhold import data, losses, nets
from withhold.errors import UsageError
from withhold.methods.image.imsat import IMSAT
from withhold.training import prepare


def make(encoder="perceptron", size=8, channels=3, **parameters):
    torch.manual_seed(0)
    return IMSAT(nets.build(encoder, size=size, channels=channels), **parameters)


def stream(images):
    return data.load(images.permute(0, 2, 3, 1).numpy(), size=images.shape[2])


def test_loss_is_the_divergence_and_the_mutual_information_written_out():
    method = make(clusters=3, weight=0.2, balance=5.0)
    scores, answers = torch.randn(8, 3), torch.randn(4, 3).softmax(1)
    plain, changed = (F.softmax(part, 1).tolist() for part in scores.chunk(2))
    both = zip(answers.flatten().tolist(), itertools.chain(*changed), strict=True)
    constancy = sum(a * math.log(a / b) for a, b in both) / 4
    unsure = -sum(p * math.log(p) for row in plain for p in row) / 4
    mean = [sum(column) / 4 for column in zip(*plain, strict=True)]
    even = -sum(p * math.log(p) for p in mean)
    terms = method.loss(scores, answers)
    assert terms["constancy"].item() == pytest.approx(constancy, rel=1e-4)
    papers = constancy - 0.2 * (5 * even - unsure)
    assert terms["loss"].item() == pytest.approx(papers + 0.2 * 5 * math.log(3), rel=1e-4)
    assert terms["clusters"].item() == pytest.approx(math.exp(even), rel=1e-4)


def test_sure_and_even_answers_cost_nothing_and_the_same_answer_to_all_costs_most():
    method = make(clusters=4)
    sure = 50 * torch.eye(4).repeat(2, 1)
    assert method.loss(sure, torch.eye(4))["loss"].item() == pytest.approx(0, abs=1e-5)
    nothing = method.loss(torch.zeros(8, 4), torch.full((4, 4), 0.25))
    assert nothing["loss"].item() == pytest.approx(nothing["trivial"])
    constant = method.loss(50 * torch.eye(4)[[0] * 8], torch.eye(4)[[0] * 4])
    assert constant["loss"].item() == pytest.approx(0.1 * 4 * math.log(4), rel=1e-4)
    assert constant["loss"] > nothing["loss"]


def test_gradients_are_finite_where_answers_are_utterly_sure_and_one_is_never_given():
    method = make(clusters=3)
    scores = torch.tensor([[200.0, 0.0, -200.0], [0.0, 200.0, -200.0]] * 2, requires_grad=True)
    method.loss(scores, scores[:2].detach().softmax(1))["loss"].backward()
    assert scores.grad.isfinite().all()


def test_radii_are_a_quarter_of_the_way_to_the_tenth_neighbour_which_scikit_learn_finds():
    images = random_images(40, size=8)
    method = make()
    prepare(method, {"images": stream(images)}, 0)
    flat = images.flatten(1).numpy() / 255
    distances, _ = NearestNeighbors(n_neighbors=11).fit(flat).kneighbors(flat)
    assert np.allclose(method.radii, distances[:, 10] / 4, rtol=1e-4)


def test_a_tenth_of_the_images_is_enough_to_know_the_radii(monkeypatch):
    images = random_images(300, size=8)
    whole, part = make(), make()
    prepare(whole, {"images": stream(images)}, 0)
    monkeypatch.setattr("withhold.methods.image.imsat.VALUES", 30 * 8 * 8 * 3)
    prepare(part, {"images": stream(images)}, 0)
    assert not torch.equal(part.radii, whole.radii)
    assert torch.allclose(part.radii, whole.radii, rtol=0.1)


def test_the_change_moves_answers_further_than_a_random_one_as_far():
    images, _ = tinted_images(12, size=8)
    method = make(clusters=3)
    prepare(method, {"images": stream(images)}, 0)
    overfit(method, {"images": (images, torch.arange(36))}, seeds=range(20))
    method.eval()
    with torch.no_grad():
        seen, answers = method.hide({"images": (images, torch.arange(36))})
        plain, changed = seen.chunk(2)
        radii = method.radii[:, None, None, None]
        assert torch.allclose((changed - plain).flatten(1).norm(dim=1), method.radii, rtol=1e-3)
        noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0)).flatten(1)
        random = plain + radii * F.normalize(noise, dim=1).view_as(plain)
        far, near = (losses.divergence(answers, method.classify(part)).mean() for part in (changed, random))
    assert far > 2 * near
    assert not answers.requires_grad


def test_an_affine_change_needs_no_neighbours():
    images = random_images(20, size=8)
    method = make(change="affine")
    prepare(method, {"images": stream(images)}, 0)
    seen, _ = method.hide({"images": (images, torch.arange(20))})
    plain, changed = seen.chunk(2)
    assert (plain != changed).flatten(1).any(1).all()


def test_all_answers_are_unsure_at_first():
    method = make()
    shares = method.classify(torch.rand(5, 3, 8, 8)).softmax(1)
    assert torch.allclose(shares, torch.full((5, 10), 0.1), atol=0.03)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on noise of three colours, and its data."""
    images, labels = tinted_images(64, size=16)
    source = (images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    out = tmp_path_factory.mktemp("imsat") / "run"
    options = {"encoder": "perceptron", "size": 16, "epochs": 30, "batch_size": 64}
    return withhold.train("imsat", source, clusters=3, out=out, **options), source


def test_clusters_are_found_and_named_and_measured(run):
    run, source = run
    rows = run.evaluate(source)
    assert {row["protocol"] for row in rows} == {"clustering", "knn", "linear"}
    (right,) = (row["value"] for row in rows if row["metric"] == "NMI" and row["encoder"] == "trained")
    assert right > 0.8
    table = run.classify(source)
    assert set(table["class"].to_pylist()) <= {"cluster 1", "cluster 2", "cluster 3"}
    with pytest.raises(UsageError, match=r"imsat has not learned any class names\. Remove the protocol classifier"):
        run.evaluate(source, protocols=("classifier",))


def test_the_picture_names_the_clusters(run):
    method, images = run[0].method, torch.from_numpy(run[1][0][:4]).permute(0, 3, 1, 2)
    seen, answers = method.hide({"images": (images, torch.arange(4))})
    columns = method.picture(seen, answers, method.predict(seen))
    assert columns["true"] == [f"cluster {k + 1}" for k in answers.argmax(1).tolist()]
    assert len(columns["said"]) == len(columns["seen"]) == 4


@pytest.mark.parametrize("balance", [0.1, 0.5, 1.0, 4.0])
def test_trivial_is_the_least_that_one_answer_to_all_images_costs(balance):
    method = make(clusters=4, weight=1.0, balance=balance)
    costs = []
    for sureness in (0.0, 0.5, 1.0, 2.0, 5.0, 50.0):
        scores = (sureness * torch.eye(4)[0]).expand(12, 4)
        terms = method.loss(scores, scores[:6].softmax(1))
        costs.append(terms["loss"].item())
    assert min(costs) == pytest.approx(terms["trivial"], abs=1e-4)


def test_the_direction_is_tried_five_away():
    method, seen = make(), []
    method.radii.resize_(4).fill_(1.0)
    method.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    method.hide({"images": (random_images(4, size=8), torch.arange(4))})
    plain, tried = seen
    torch.testing.assert_close((tried - plain).flatten(1).norm(dim=1), torch.full((4,), 5.0), atol=1e-3, rtol=0)


def test_an_affine_change_moves_and_scales():
    method = make(size=32, change="affine")
    square = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    square[..., 10:22, 10:22] = 255
    seen, _ = method.withhold(images=(square.expand(100, -1, -1, -1), torch.arange(100)))
    changed = seen[100:].mean(1)
    area = changed.sum((1, 2))
    columns = (changed.sum(1) @ torch.arange(32.0)) / area
    assert 1.0 < columns.std() < 3.2  # up to a tenth of 32 pixels to either side
    assert area.std() / area.mean() > 0.15
