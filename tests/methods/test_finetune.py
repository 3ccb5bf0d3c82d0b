import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tests.methods.toys import tinted_images
from withhold import data, nets
from withhold.contract import Trial
from withhold.errors import UsageError
from withhold.methods import build, find
from withhold.methods.transfer.finetune import Finetune
from withhold.nets import logistic
from withhold.training import Plan, fit

CLASSES = ("red", "green", "blue")


def make(**parameters):
    torch.manual_seed(0)
    return build(Finetune, nets.build("convnet", size=16, channels=3), parameters, {"classes": CLASSES})


def stream(counts=(12, 6, 2)):
    images, labels = tinted_images(max(counts))
    kept = torch.cat([(labels == k).nonzero()[:count, 0] for k, count in enumerate(counts)])
    pixels = images[kept].permute(0, 2, 3, 1).numpy()
    return data.load((pixels, labels[kept].numpy()), size=16)


SCORES = torch.tensor([[0.3, -1.0, 2.0], [1.5, 0.0, 0.2]])
LABELS = torch.tensor([2, 1])


def test_the_loss_is_cross_entropy_with_soft_labels_and_weights():
    method = make(smoothing=0.3, balance=True)
    method.shares.copy_(torch.tensor([0.6, 0.3, 0.1]))
    targets = method.spread(F.one_hot(LABELS, 3).float())
    said = SCORES.softmax(1).tolist()
    weights = [1 / (3 * share) for share in (0.6, 0.3, 0.1)]
    expected = 0.0
    for row, label in zip(said, LABELS.tolist(), strict=True):
        for k in range(3):
            truth = 0.7 * (k == label) + 0.1
            expected -= weights[k] * truth * math.log(row[k]) / 2
    assert method.loss(SCORES, targets)["loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balance", [False, True])
def test_trivial_is_the_least_that_a_constant_answer_costs(balance):
    method = make(smoothing=0.2, balance=balance)
    method.shares.copy_(torch.tensor([0.5, 0.4, 0.1]))
    labels = torch.tensor([0] * 5 + [1] * 4 + [2])
    targets = method.spread(F.one_hot(labels, 3).float())
    constant = torch.zeros(1, 3, requires_grad=True)
    solver = torch.optim.LBFGS([constant], max_iter=200, line_search_fn="strong_wolfe")

    def objective():
        solver.zero_grad()
        loss = method.loss(constant.expand(10, 3), targets)["loss"]
        loss.backward()
        return loss

    solver.step(objective)
    terms = method.loss(constant.expand(10, 3), targets)
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-4)


def test_mixing_mixes_items_and_answers_alike():
    method = make(mixup=1.0)
    images, labels = tinted_images(4)
    method.seed(1)
    seen, targets = method.withhold(labelled=(images, labels))
    assert seen.shape == (12, 3, 16, 16)
    torch.testing.assert_close(targets.sum(1), torch.ones(12))
    assert ((targets > 0).sum(1) <= 2).all()
    assert (targets.max(1).values < 1).any()
    clips = images[:, None].expand(-1, 2, -1, -1, -1)
    assert method.withhold(labelled=(clips, labels))[0].shape == (12, 2, 3, 16, 16)


def chosen_strength(x, samples, weights=None):
    """The strength that a head chooses for standardised features."""
    labels = torch.from_numpy(samples.labels)
    return logistic.probe(torch.from_numpy(x).float(), labels, 3, torch.Generator().manual_seed(0), weights)[1]


def test_the_head_starts_as_the_linear_probe_of_the_encoder_as_it_is():
    from sklearn.linear_model import LogisticRegression

    method, samples = make(freeze="all").train(), stream()
    method.seed(0)
    method.prepare(labelled=samples)
    torch.testing.assert_close(method.shares, torch.tensor([12.0, 6, 2]) / 20)
    features = nets.features(method.encoder, samples).double().numpy()
    x = (features - features.mean(0)) / features.var(0).mean() ** 0.5
    strength = chosen_strength(x, samples)
    # `fit` ends at a tolerance of its own, hence probabilities and not weights are compared.
    peer = LogisticRegression(C=1 / (20 * strength), tol=1e-8, max_iter=1000).fit(x, samples.labels)
    said = method.eval().classify(next(nets.batches(samples, torch.arange(20), "cpu"))).softmax(1)
    torch.testing.assert_close(said.detach().double(), torch.from_numpy(peer.predict_proba(x)), atol=2e-3, rtol=0)
    random = make(probe=False)
    before = random.head.weight.clone()
    random.prepare(labelled=samples)
    assert torch.equal(random.head.weight, before)


def test_the_head_is_fitted_to_the_means_of_the_windows_of_long_items(monkeypatch):
    windows = stream((12, 12, 12))
    windows.owners = np.repeat(np.arange(9), 4)  # nine items of four windows each, all of one class
    seen = []
    head = logistic.head
    monkeypatch.setattr(logistic, "head", lambda *given: seen.extend(given[:2]) or head(*given))
    method = make(freeze="all").train()
    method.seed(0)
    method.prepare(labelled=windows)
    features = nets.features(method.encoder, windows)
    torch.testing.assert_close(seen[0], features.view(9, 4, -1).mean(1), atol=1e-5, rtol=1e-5)
    assert seen[1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_head_of_balanced_classes_starts_balanced():
    from sklearn.linear_model import LogisticRegression

    method, samples = make(freeze="all", balance=True).train(), stream((12, 5, 0))
    method.seed(0)
    method.prepare(labelled=samples)
    torch.testing.assert_close(method.weights(), torch.tensor([17 / 24, 17 / 10, 0.0]))
    assert (method.weights() * method.shares).sum().item() == pytest.approx(1)
    features = nets.features(method.encoder, samples).double().numpy()
    x = (features - features.mean(0)) / features.var(0).mean() ** 0.5
    strength = chosen_strength(x, samples, method.weights())
    peer = LogisticRegression(C=1 / (17 * strength), class_weight="balanced", tol=1e-8, max_iter=1000)
    said = method.eval().classify(next(nets.batches(samples, torch.arange(17), "cpu")))[:, :2].softmax(1)
    expected = peer.fit(x, samples.labels).predict_proba(x)
    torch.testing.assert_close(said.detach().double(), torch.from_numpy(expected), atol=2e-3, rtol=0)


def test_the_head_is_fitted_to_features_of_training_mode_without_dropout_where_frozen():
    method = make(freeze="all")
    method.encoder.blocks.append(nn.Dropout(0.5))
    method.train()
    assert method.head.training and not any(part.training for part in method.encoder.modules())
    tuned = make()
    tuned.train().prepare(labelled=stream())
    eager = next(part for part in tuned.encoder.modules() if isinstance(part, _BatchNorm))
    assert eager.training and eager.num_batches_tracked > 0  # it looked with the statistics of its batches


def test_targets_are_smoothed_and_views_mirrored_as_asked():
    method = make(smoothing=0.3, flip=1.0)
    images, labels = tinted_images(4)
    told = []
    method.encoder.light_view = lambda items, rng, flip: told.append(flip) or items.float()
    _, targets = method.withhold(labelled=(images, labels))
    torch.testing.assert_close(targets, 0.7 * F.one_hot(labels, 3) + 0.1)
    assert told == [1.0]


def values(stage):
    return [value.clone() for part in stage for value in part.state_dict().values()]


def norms(module):
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


@pytest.mark.parametrize(("freeze", "still"), [("2", 2), ("all", 4), ("none", 0)])
def test_frozen_stages_keep_their_weights_and_statistics(freeze, still):
    method = make(freeze=freeze)
    for norm in norms(method):
        norm.running_mean.fill_(0.5)
    method.prepare(labelled=stream())
    before = [values(stage) for stage in method.encoder.stages()]
    feeder = data.Feeder({"labelled": stream()}, Finetune.needs, 8, 0)
    fit(method, feeder, Plan(steps=3))
    method.eval().finish(lambda: nets.batches(stream(), torch.arange(20), "cpu"))
    for number, (stage, kept) in enumerate(zip(method.encoder.stages(), before, strict=True)):
        same = [torch.equal(one, other) for one, other in zip(values(stage), kept, strict=True)]
        assert all(same) if number < still else not all(same)
    assert method.head.weight.requires_grad


@pytest.mark.parametrize("freeze", ["4", "all"])
def test_items_of_a_fully_frozen_encoder_are_not_augmented(freeze):
    items, labels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8), torch.zeros(6, dtype=torch.int64)
    seen, _ = make(freeze=freeze).hide({"labelled": (items, labels)})
    torch.testing.assert_close(seen, items / 255)


def test_more_stages_than_there_are_cannot_be_frozen():
    with pytest.raises(UsageError, match=r"has 4 stages, not 5\. Freeze fewer, or all"):
        make(freeze=5)


def test_l2_sp_holds_the_encoder_where_it_started():
    method = make(l2_sp=0.5)
    targets = F.one_hot(LABELS, 3).float()
    plain = make().loss(SCORES, targets)["loss"]
    torch.testing.assert_close(method.loss(SCORES, targets)["loss"], plain)
    with torch.no_grad():
        weight = next(method.encoder.parameters())
        weight[0] += 0.1
        method.head.weight += 1.0  # which is free to go anywhere
    assert method.optimizer.weight_decay == 0 and Finetune.optimizer.weight_decay > 0
    terms = method.loss(SCORES, targets)
    strayed = weight[0].numel() * 0.01
    assert terms["strayed"].item() == pytest.approx(strayed, rel=1e-4)
    assert terms["loss"].item() == pytest.approx(plain.item() + 0.25 * strayed, rel=1e-4)


@pytest.mark.parametrize("kind", ["image", "video", "audio", "text"])
def test_it_learns_to_name_items_of_every_kind(kind):
    trial = Trial(Finetune, kind=kind)
    method = trial.make()
    rows = fit(method, trial.feed(method, 16), Plan(steps=40, encoder_lr=0.1)).rows
    assert rows[-1]["accuracy"] > 0.9
    _, batch = trial.prepared(4)
    assert method.picture(*method.hide(batch)).keys() == {"seen", "label"}


def test_texts_cannot_be_mixed():
    with pytest.raises(UsageError, match="texts cannot be mixed"):
        Trial(find("finetune"), {"mixup": 0.2}, kind="text").make()


def test_items_in_the_order_of_their_classes_start_as_good_a_head():
    """Batches of one class would be normalised to the same mean."""
    labels = np.repeat([0, 1, 2], [256, 256, 0])
    brightness = np.array([0, 100])[labels[:, None, None, None]]
    pixels = (np.random.default_rng(0).integers(0, 80, (512, 16, 16, 3)) + brightness).astype(np.uint8)
    method, samples = make().train(), data.load((pixels, labels), size=16)
    method.seed(0)
    method.prepare(labelled=samples)
    found = method.classify(next(nets.batches(samples, torch.arange(0, 512, 2), "cpu"))).argmax(1)
    assert (found == torch.arange(0, 512, 2) // 256).float().mean() > 0.95
