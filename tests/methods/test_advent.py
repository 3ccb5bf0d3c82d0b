import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import random_images
from withhold import losses, nets
from withhold.errors import UsageError
from withhold.methods import build, find
from withhold.methods.transfer.advent import critic

NAMES = ("ground", "thing", "sky")


def make(encoder="convnet", **values):
    torch.manual_seed(0)
    return build(find("advent"), nets.build(encoder, size=32, channels=3), values, {"classes": NAMES})


def batch(n=6):
    masks = torch.randint(0, 3, (n, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    return {"source": (random_images(n, 0), masks), "target": random_images(n, 1)}


def test_information_is_what_each_class_adds_to_the_entropy():
    """-p log2 p / log2 k, as equation 1 of the paper and its code have it."""
    scores = 3 * torch.randn(2, 3, 4, 4)
    found = make().information(scores)
    for n, row, column in np.ndindex(2, 4, 4):
        shares = scores[n, :, row, column].double().softmax(0)
        expected = [-p * math.log2(p) / math.log2(3) for p in shares.tolist()]
        assert found[n, :, row, column].tolist() == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(make().information(torch.zeros(1, 3, 2, 2)).sum(1), torch.ones(1, 2, 2))
    assert torch.allclose(losses.entropy(scores), found.sum(1) * math.log(3), atol=1e-5)


@pytest.mark.parametrize("inner", [False, True])
def test_minent_adds_the_targets_entropy(inner):
    method = make(mode="minent", weight=0.3, inner=inner)
    said = [torch.randn(5, 3, 4, 4) for _ in range(1 + inner)]
    masks = torch.randint(0, 3, (2, 4, 4))
    expected = 0.0
    for scores, labelled, unlabelled in zip(said, (1.0, 0.1), (1.0, 0.2), strict=False):
        shares = scores[2:].softmax(1)
        doubt = -(shares * shares.log()).sum(1).mean() / math.log(3)
        expected += labelled * F.cross_entropy(scores[:2], masks) + 0.3 * unlabelled * doubt
    terms = method.loss(said, masks)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    alone = make(mode="minent").loss(said[:1], masks)["trivial"]
    assert terms["trivial"].item() == pytest.approx((1.1 if inner else 1.0) * alone.item(), rel=1e-5)
    assert list(method.players()) == ["learner"]


@pytest.mark.parametrize(("size", "side", "layers"), [(128, 4, 5), (100, 3, 5), (32, 1, 5), (16, 1, 4)])
def test_the_critic_judges_regions(size, side, layers):
    network = critic(3, size)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 1, side, side)
    assert sum(isinstance(part, torch.nn.Conv2d) for part in network) == layers


@pytest.mark.parametrize("inner", [False, True])
def test_the_critic_tells_the_domains_and_the_segmenter_fools_it(inner):
    method, streams, handed = make(weight=0.5, inner=inner), batch(), {}
    method.eval()
    method.seed(0)
    terms = method.turn("segmenter", streams, handed)
    method.seed(0)
    seen, masks = method.hide(streams)
    said = method.predict(seen)
    expected, told = method.loss(said, masks)["loss"], 0.0
    for scores, judge, share in zip(said, method.critics, (1.0, 0.2), strict=False):
        shares = scores.softmax(1)
        maps = -shares * shares.log() / math.log(3)
        source, target = judge(maps[:6]), judge(maps[6:])
        ones, zeros = torch.ones(6, 1, 1, 1), torch.zeros(6, 1, 1, 1)
        expected = expected + 0.5 * share * F.binary_cross_entropy_with_logits(target, ones)
        told = told + F.binary_cross_entropy_with_logits(source, ones)
        told = told + F.binary_cross_entropy_with_logits(target, zeros)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    terms = method.turn("critic", streams, handed)
    assert terms["loss"].item() == pytest.approx(told.item(), rel=1e-4)
    assert not any(part.requires_grad for pair in handed["maps"] for part in pair)
    assert len(method.critics) == 1 + inner


def test_without_weight_nothing_of_the_target_is_shown_nor_kept():
    streams = batch()
    other = streams | {"target": random_images(6, 9)}
    found = []
    for given in (streams, other):
        method = make(weight=0.0)
        method.seed(0)
        seen, masks = method.hide(given)
        found.append(method.loss(method.predict(seen), masks)["loss"].item())
        assert len(seen) == 6
        assert "doubt" not in method.loss(method.predict(seen), masks)
    assert found[0] == found[1]
    assert list(method.ignored) == ["target"] and not make(mode="minent").ignored


def test_too_much_weight_on_entropy_names_one_class_and_that_shows():
    """What the sheet of the paper warns of: sure, and of the same everywhere."""
    ends = {}
    for weight in (1e-3, 10.0):
        method, streams = make(mode="minent", weight=weight), batch()
        optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
        for step in range(12):
            method.seed(step)
            terms = method(streams)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
        ends[weight] = terms
    assert ends[10.0]["doubt"] < 0.5 < ends[1e-3]["doubt"]
    assert ends[10.0]["target_classes"] < 2 < ends[1e-3]["target_classes"]


def test_the_picture_shows_masks_and_entropy_of_both_domains():
    method = make()
    seen, masks = method.hide(batch(3))
    with torch.no_grad():
        columns = method.picture(seen, masks, method.predict(seen))
    assert set(columns) == {"seen", "true", "said", "entropy", "target", "said of target", "entropy of target"}
    assert {len(column) for column in columns.values()} == {3}
    assert columns["entropy of target"].shape == (3, 1, 32, 32)


def test_an_encoder_of_one_resolution_has_no_inner_map():
    with pytest.raises(UsageError, match=r"there is no inner map\. Leave out inner"):
        make("vit-tiny", inner=True)
