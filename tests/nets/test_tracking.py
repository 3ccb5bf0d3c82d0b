"""Attention and label propagation, against plain loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from withhold import nets
from withhold.nets import tracking


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_a_pointer_is_the_mean_by_a_softmax_of_cosines():
    queries, keys, values = unit(2, 3, 8), unit(2, 5, 8, seed=1), torch.rand(2, 5, 4)
    found = nets.pointer(queries, keys, values, 0.3)
    for n in range(2):
        for q in range(3):
            weights = [math.exp(float(queries[n, q] @ keys[n, k]) / 0.3) for k in range(5)]
            expected = sum(weight * values[n, k] for k, weight in enumerate(weights)) / sum(weights)
            assert torch.allclose(found[n, q], expected, atol=1e-5)


def test_a_pointer_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nets.pointer(unit(1, 3, 8).bfloat16(), unit(1, 5, 8).bfloat16(), torch.eye(5)[None])
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(2), torch.ones(1, 3))


def followed(maps, first, memory, radius, neighbours, temperature):
    """`propagate` as loops over every place and every place that it compares it with."""
    t, _, h, w = maps.shape
    known = [first]
    for now in range(1, t):
        answer = torch.zeros_like(first)
        for y in range(h):
            for x in range(w):
                candidates = []
                for then in sorted({0, *range(max(0, now - memory), now)}):
                    for v in range(h):
                        for u in range(w):
                            if then and math.dist((y, x), (v, u)) > max(1.0, radius * min(h, w)):
                                continue
                            distance = float((maps[now, :, y, x] - maps[then, :, v, u]).square().sum())
                            candidates.append((distance, known[then][:, v, u]))
                candidates = sorted(candidates, key=lambda pair: pair[0])[:neighbours]
                weights = [math.exp(-distance / (2 * temperature)) for distance, _ in candidates]
                total = sum(weight * label for weight, (_, label) in zip(weights, candidates, strict=True))
                answer[:, y, x] = total / sum(weights)
        known.append(answer)
    return torch.stack(known)


@pytest.mark.parametrize("length", ["unit", "any"])
@pytest.mark.parametrize(("memory", "radius", "neighbours"), [(2, 0.5, 5), (1, 0.0, 100), (7, 1.0, 1)])
def test_propagation_is_the_loop(length, memory, radius, neighbours, monkeypatch):
    maps = torch.randn(5, 6, 4, 5, generator=torch.Generator().manual_seed(0))
    maps = F.normalize(maps, dim=1) if length == "unit" else maps
    first = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1))
    options = {"memory": memory, "radius": radius, "neighbours": neighbours, "temperature": 0.2}
    expected = followed(maps, first, **options)
    assert torch.allclose(nets.propagate(maps, first, **options), expected, atol=1e-4)
    monkeypatch.setattr(tracking, "CHUNK", 64)  # a few places at a time
    assert torch.allclose(nets.propagate(maps, first, **options), expected, atol=1e-4)


def test_what_moves_is_followed_and_shares_stay_shares():
    """All places differ, and each frame is shifted cyclically by one column: the labels shift with it."""
    maps = unit(6 * 8, 32).T.reshape(32, 6, 8)
    clip = torch.stack([maps.roll(step, 2) for step in range(4)])
    first = torch.zeros(2, 6, 8)
    first[1, 2:4, 2:4] = 1
    first[0] = 1 - first[1]
    found = nets.propagate(clip, first, temperature=0.01)
    for step, part in enumerate(found):
        assert torch.equal(part.argmax(0), first.roll(step, 2).argmax(0))
    assert torch.allclose(found.sum(1), torch.ones(4, 6, 8), atol=1e-5)


@pytest.mark.parametrize(("shape", "fitted"), [((192, 342), (96, 172)), ((50, 30), (160, 96)), ((96, 96), (96, 96))])
def test_frames_are_scaled_whole(shape, fitted):
    assert tracking.fit(torch.rand(2, 3, *shape), 96, 4).shape == (2, 3, *fitted)


def test_a_mask_comes_back_where_nothing_moves():
    """All places differ and none moves: every frame has the first mask, to within a cell."""
    mask = torch.zeros(48, 64, dtype=torch.int64)
    mask[8:24, 16:40], mask[32:40, 8:24] = 1, 2
    places = unit(12 * 16, 64).T.reshape(1, 64, 12, 16)
    shares = nets.track(lambda images: places.expand(len(images), -1, -1, -1), torch.rand(3, 3, 96, 128), mask, 48, 4)
    assert shares.shape == (3, 3, 12, 16)
    for part in shares:
        found = nets.at_pixels(part, (48, 64))
        assert (found == mask).float().mean() > 0.97


def test_large_videos_are_embedded_in_parts(monkeypatch):
    seen = []
    monkeypatch.setattr(tracking, "AT_ONCE", 2)

    def embed(images):
        seen.append(tuple(images.shape))
        return images[:, :, ::4, ::4]

    nets.track(embed, torch.zeros(5, 3, 40, 60, dtype=torch.uint8), torch.eye(40, 60).long(), 16, 4)
    assert seen == [(2, 3, 16, 24), (2, 3, 16, 24), (1, 3, 16, 24)]


def test_a_bump_is_a_bell_around_its_point_and_its_centre_is_found():
    points = torch.tensor([[10.0, 4.0], [3.5, 9.5]])
    maps = tracking.bumps(points, (16, 24), 2.0)
    for k, (x, y) in enumerate(points.tolist()):
        for row, column in ((4, 10), (0, 0), (15, 23)):
            away = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
            assert maps[k, row, column].item() == pytest.approx(math.exp(-away / 8), abs=1e-6)
    found = tracking.centres(maps) * torch.tensor([24.0, 16.0])
    assert torch.allclose(found, points, atol=0.51)
    assert torch.isfinite(tracking.centres(torch.zeros(1, 3, 3))).all()
    assert torch.equal(tracking.bumps(torch.stack([points, points.flip(0)]), (16, 24), 2.0)[1, 1], maps[0])


def test_what_is_known_may_be_a_map():
    """Labels as one-hot maps give the same result as labels."""
    frames = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(16) > 7).long().expand(16, 16)

    def embed(images):
        return F.normalize(F.avg_pool2d(images, 4) - 0.5, dim=1)

    maps = F.one_hot(labels).permute(2, 0, 1).float()
    assert torch.equal(tracking.track(embed, frames, labels, 16, 4), tracking.track(embed, frames, maps, 16, 4))
