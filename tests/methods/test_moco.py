import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods.image.moco import MoCo
from withhold.training.optimizers import build


def make(**parameters):
    torch.manual_seed(0)
    return MoCo(nets.build("convnet", size=32, channels=3), **parameters)


def step(method, images):
    terms = method({"images": images})
    method.zero_grad()
    terms["loss"].backward()
    method.after_step()
    return terms


def test_loss_is_a_softmax_over_the_key_and_the_queue():
    method = make(queue=6, temperature=0.5, projection=4)
    queries, keys = torch.randn(3, 4), F.normalize(torch.randn(3, 4), dim=1)
    remembered = method.queue.keys
    rows = []
    for query, key in zip(queries, keys, strict=True):
        query = query / query.norm()
        right = math.exp(query.dot(key).item() / 0.5)
        wrong = sum(math.exp(query.dot(old).item() / 0.5) for old in remembered)
        rows.append(-math.log(right / (right + wrong)))
    terms = method.loss(queries, (None, keys))
    assert terms["loss"].item() == pytest.approx(sum(rows) / 3, rel=1e-5)
    assert terms["trivial"] == math.log(7)


def test_the_queue_forgets_the_oldest_keys_first():
    method = make(queue=20, projection=4)
    seen = []
    for i in range(4):
        _, (_, keys) = method.hide({"images": random_images(8, i)})
        method.after_step()
        seen.append(keys)
    similar = torch.cat(seen) @ method.queue.keys.T
    assert torch.equal(similar.amax(1) > 1 - 1e-5, torch.arange(32) >= 12)
    assert torch.allclose(method.queue.keys.norm(dim=1), torch.ones(20))


def test_keys_of_a_batch_in_parts_are_all_enqueued_once_and_none_when_only_looking():
    method = make(queue=64)
    before = method.queue.keys.clone()
    method.eval()
    method.hide({"images": random_images(8)})
    method.train()
    parts = [method.hide({"images": random_images(4, i)})[1][1] for i in range(2)]
    method.after_step()
    changed = (method.queue.keys != before).any(1)
    assert changed.sum() == 8
    assert torch.allclose(method.queue.keys[changed], torch.cat(parts), atol=1e-6)


def test_the_teacher_follows_slowly_and_takes_no_gradient():
    method = make(momentum=0.9)
    old = [p.clone() for p in method.teacher.parameters()]
    with torch.no_grad():
        for parameter in method.student().parameters():
            parameter.add_(torch.randn_like(parameter))
    step(method, random_images(8))
    students = list(method.student().parameters())
    assert len(old) == len(students) > 0
    for teacher, before, student in zip(method.teacher.parameters(), old, students, strict=True):
        assert teacher.grad is None
        assert torch.allclose(teacher, 0.9 * before + 0.1 * student, atol=1e-6)
    trained = {id(p) for group in build([method], method.optimizer, 1e-3).param_groups for p in group["params"]}
    assert trained == {id(p) for p in students}


def test_keys_return_to_the_order_of_their_images():
    """Without batch statistics a key depends on its own view alone."""
    method = make().eval()
    _, (other, keys) = method.hide({"images": random_images(64)})
    assert torch.allclose(keys, F.normalize(method.teacher(other), dim=1), atol=1e-5)


def test_statistics_do_not_give_the_key_away():
    """In parts, a batch's features carry less of a mark that its keys share and other batches' keys lack."""

    def mark(parts):
        """How much better a query matches the other keys of its own batch than those of another batch."""
        method = make(parts=parts, queue=64)
        gaps = []
        for i in range(6):
            # Batches that differ in brightness, which batch normalisation takes away from each.
            dark = (random_images(64, i).float() * (0.3 + 0.1 * i)).byte()
            seen, (_, keys) = method.hide({"images": dark})
            queries = F.normalize(method.predict(seen), dim=1)
            gaps.append((queries, keys))
        same = torch.stack([(q @ k.T).mean() for q, k in gaps]).mean()
        other = torch.stack([(q @ k.T).mean() for q, _ in gaps for _, k in gaps]).mean()
        return (same - other).item()

    with torch.no_grad():
        assert mark(8) < mark(1)


def test_a_few_images_are_learned_by_heart():
    terms = overfit(make(queue=64), smooth_images(16), seeds=range(60))[-1]
    assert terms["loss"] < terms["trivial"]
