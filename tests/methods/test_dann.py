import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import random_images
from withhold import nets
from withhold.methods import build, find

NAMES = ("ant", "bee", "cat")


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("dann"), nets.build("convnet", size=size, channels=channels), values, {"classes": NAMES})


def batch(n=8, size=32, channels=3):
    source, target = random_images(n, 0, size, channels), random_images(n, 1, size, channels)
    return {"source": (source, torch.arange(n) % 3), "target": target}


def gradients(method, progress):
    """Of the encoder, the head of the classes and the head of the domains, on the same views."""
    method.progress = progress
    method.seed(0)
    method.zero_grad()
    method(batch())["loss"].backward()
    parts = (method.encoder, method.head, method.domain)
    return [torch.cat([p.grad.flatten() for p in part.parameters()]).clone() for part in parts]


def test_loss_is_the_sources_classes_and_both_domains_by_hand():
    method = make()
    scores, domain, labels = torch.randn(7, 3), torch.randn(7), torch.tensor([0, 2, 1, 1])
    expected = 0.0
    for i in range(7):
        share = 1 / (1 + math.exp(-domain[i].item()))
        if i < 4:  # of the source
            row = scores[i].exp()
            expected -= math.log(row[labels[i]] / row.sum()) / 4 + math.log(share) / 4
        else:
            expected -= math.log(1 - share) / 3
    terms = method.loss((scores, domain), labels)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)
    right = [(domain[:4] > 0).float().mean().item(), (domain[4:] < 0).float().mean().item()]
    assert terms["domain_accuracy"].item() == pytest.approx(sum(right) / 2)
    knowing_nothing = method.loss((torch.zeros(7, 3), torch.zeros(7)), labels)
    assert knowing_nothing["loss"].item() == pytest.approx(knowing_nothing["trivial"])


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.5, 1.0])
def test_what_the_encoder_hides_is_scheduled_and_the_heads_learn_alike(progress):
    """The encoder's gradient is that of the classes minus strength times that of the domains, which autograd gives."""
    strength = 0.7 * (2 / (1 + math.exp(-10 * progress)) - 1)
    method = make(weight=0.7)
    found = gradients(method, progress)
    assert method.strength == pytest.approx(strength)
    method.seed(0)
    images, labels = method.hide(batch())
    features = method.encoder(images)
    classes = F.cross_entropy(method.head(features)[:8], labels)
    told = F.binary_cross_entropy_with_logits(method.domain(features)[:, 0], torch.tensor([1.0] * 8 + [0.0] * 8))
    encoder = list(method.encoder.parameters())
    of_classes = torch.cat([g.flatten() for g in torch.autograd.grad(classes, encoder, retain_graph=True)])
    of_domains = torch.cat([g.flatten() for g in torch.autograd.grad(2 * told, encoder, retain_graph=True)])
    assert torch.allclose(found[0], of_classes - strength * of_domains, atol=1e-5)
    domain = torch.cat([g.flatten() for g in torch.autograd.grad(2 * told, list(method.domain.parameters()))])
    assert torch.allclose(found[2], domain, atol=1e-6)


def test_without_weight_nothing_of_the_target_is_shown_nor_kept():
    streams = batch()
    found = []
    for given in (streams, streams | {"target": random_images(8, 9)}):
        method = make(weight=0.0)
        method.seed(0)
        images, labels = method.hide(given)
        found.append(method.loss(method.predict(images), labels))
        assert len(images) == 8
        assert set(found[-1]) == {"loss", "accuracy", "trivial"}
        assert found[-1]["trivial"] == pytest.approx(math.log(3))
    assert found[0]["loss"].item() == found[1]["loss"].item()
    assert list(method.ignored) == ["target"] and not make().ignored  # batch statistics of both would adapt it


def test_the_targets_classes_teach_nothing():
    """What is said of the target reaches the loss in no way: it has no labels."""
    method = make()
    scores, domain = torch.randn(8, 3, requires_grad=True), torch.randn(8)
    method.loss((scores, domain), torch.tensor([0, 1, 2, 0]))["loss"].backward()
    assert scores.grad[:4].abs().min() > 0
    assert not scores.grad[4:].any()


def test_both_domains_are_normalised_together():
    """By statistics of its own, each domain would look alike in training, and apart once it is trained."""
    method, seen = make(), []
    method.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images, _ = method.hide(batch(n=6))
    method.predict(images)
    assert [len(x) for x in seen] == [12]


def test_domains_of_other_sizes_and_channels_meet_at_the_encoders():
    for channels in (1, 3):
        method = make(size=28, channels=channels)
        source, target = random_images(4, size=28, channels=1), random_images(4, size=16, channels=3)
        images, labels = method.hide({"source": (source, torch.tensor([0, 1, 2, 0])), "target": target})
        assert images.shape == (8, channels, 28, 28)
        assert labels.tolist() == [0, 1, 2, 0]
        assert torch.isfinite(method.loss(method.predict(images), labels)["loss"])


def test_crops_are_not_mirrored():
    """A digit's mirror image is none: bright on the left, they stay so."""
    left = torch.zeros(64, 1, 32, 32, dtype=torch.uint8)
    left[..., :10] = 255
    images, _ = make(channels=1).hide({"source": (left, torch.zeros(64, dtype=torch.int64)), "target": left})
    assert (images[..., :16].mean((1, 2, 3)) >= images[..., 16:].mean((1, 2, 3))).all()


def test_a_collapse_of_the_target_shows():
    method, labels = make(), torch.tensor([0, 1, 2])
    scores = torch.zeros(6, 3)
    scores[3:, 1] = 50
    assert method.loss((scores, torch.zeros(6)), labels)["target_classes"].item() == pytest.approx(1)
    scores[3:] = 50 * torch.eye(3)
    assert method.loss((scores, torch.zeros(6)), labels)["target_classes"].item() == pytest.approx(3)


def test_the_picture_names_classes_and_not_the_targets():
    method = make()
    images, labels = method.hide(batch(n=3))
    scores = F.one_hot(torch.tensor([0, 1, 2, 2, 2, 0]), 3).float()
    columns = method.picture(images, labels, (scores, torch.zeros(6)))
    assert columns["told"] == ["ant", "bee", "cat", "target", "target", "target"]
    assert columns["said"] == ["ant", "bee", "cat", "cat", "cat", "ant"]
    assert torch.equal(columns["seen"], images)
