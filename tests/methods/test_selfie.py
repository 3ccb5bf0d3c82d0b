"""Selfie: masked patches, their scores, and shortcuts that are excluded."""

import math

import pytest
import torch

from tests.methods.toys import batch, overfit
from withhold import nets, views
from withhold.methods import build, find
from withhold.methods.image.selfie import fill


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("selfie"), nets.build("convnet", size=size, channels=channels), values)


def numbered(n, count=9):
    """Patches [n, count, 1, 1, 1] that hold the number of the place that they are from."""
    return torch.arange(float(count)).expand(n, count)[:, :, None, None, None]


def test_the_answers_put_every_patch_back(monkeypatch):
    """And before that, those that were taken out lie in each other's holes, each in one, in random order."""
    monkeypatch.setattr(views, "tiles", lambda whole, rng, grid, size: numbered(len(whole)))
    monkeypatch.setattr(views, "augment", lambda images, *_, **__: images.float())
    monkeypatch.setattr(views, "standardize", lambda images: images)
    (patches, holes), answers = make().hide({"images": torch.zeros(200, 3, 32, 32)})
    image = torch.arange(200)[:, None]
    assert holes.shape == answers.shape == (200, 3)
    assert torch.equal(fill(patches, holes, answers), numbered(200))
    assert torch.equal(patches.flatten(1).sort(1).values, numbered(200).flatten(1))
    left = torch.ones(200, 9, dtype=torch.bool).index_put((image, holes), torch.tensor(False))
    assert torch.equal(patches.flatten(1)[left], numbered(200).flatten(1)[left])
    assert holes.flatten().bincount().min() > 40, "every place is taken out at times"
    assert answers.flatten().bincount().min() > 150, "every answer is right at times"


def test_scores_are_products_of_what_is_said_at_a_hole_and_of_features_of_patches(photos):
    """One hole at a time, of one image: the transformer reads what is left, and never the patches taken out."""
    method = make(width=32).eval()
    (patches, holes), _ = method.hide(batch(photos, 2))
    scores = method.predict((patches, holes))
    for image in range(2):
        features = method.project(method.encoder(patches[image]))
        tokens = features.clone()
        tokens[holes[image]] = method.hole
        read = method.reader((tokens + method.positions)[None])[0]
        for i, hole in enumerate(holes[image].tolist()):
            for j, other in enumerate(holes[image].tolist()):
                expected = sum(a * b for a, b in zip(read[hole].tolist(), features[other].tolist(), strict=True))
                assert scores[image, i, j].item() == pytest.approx(expected / math.sqrt(32), abs=1e-3)


def test_which_patch_suits_a_hole_depends_on_what_is_left(photos):
    """With the paper's sum of position and context, the others could not change by how much a hole prefers a patch
    more than another hole does."""
    method = make().eval()
    method.project.weight.data *= 30
    (patches, holes), _ = method.hide(batch(photos, 1))
    image = torch.arange(1)[:, None]
    other = torch.rand_like(patches).index_put((image, holes), patches[image, holes])
    first, second = (method.predict((seen, holes))[0] for seen in (patches, other))
    preferences = [(scores[0] - scores[1]) - (scores[0] - scores[1]).mean() for scores in (first, second)]
    assert (preferences[0] - preferences[1]).abs().max() > 0.02 * preferences[0].abs().max()


def test_the_loss_is_the_cross_entropy_of_the_right_patch():
    scores, answers = torch.randn(4, 3, 3), torch.stack([torch.randperm(3) for _ in range(4)])
    costs, hits = [], []
    for image, hole in ((image, hole) for image in range(4) for hole in range(3)):
        said, right = scores[image, hole].tolist(), int(answers[image, hole])
        costs.append(math.log(sum(map(math.exp, said))) - said[right])
        hits.append(said.index(max(said)) == right)
    terms = make().loss(scores, answers)
    assert terms["loss"].item() == pytest.approx(sum(costs) / 12, rel=1e-5)
    assert terms["accuracy"].item() == pytest.approx(sum(hits) / 12)
    assert terms["trivial"] == math.log(3)


def test_light_and_contrast_give_no_patch_away():
    """Half of the image is dark: its patches have the mean and deviation of all others."""
    images = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[:, :, :16] //= 8
    (patches, _), _ = make().hide({"images": images})
    assert torch.allclose(patches.mean((2, 3, 4)), torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(patches.std((2, 3, 4), correction=0), torch.tensor(0.25), atol=1e-3)


def test_the_tint_of_a_patch_is_its_own():
    """Of an image of one colour with a little noise, patches differ in colour as much as images do."""
    images = (torch.tensor([200, 60, 60]).view(1, 3, 1, 1) + torch.randint(0, 20, (16, 3, 32, 32))).byte()
    (patches, _), _ = make().hide({"images": images})
    colours = patches.mean((3, 4))
    assert colours.std(1).mean() > 0.3 * colours.flatten(0, 1).std(0).mean()


def test_a_batch_is_learned_by_heart(photos):
    history = overfit(make(), batch(photos, 8), seeds=[0] * 60)
    assert history[-1]["accuracy"] > 0.9
    assert history[-1]["loss"] < 0.5 * history[-1]["trivial"]


def test_right_scores_show_the_true_image(photos):
    method = make()
    visible, answers = method.hide(batch(photos, 3))
    columns = method.picture(visible, answers, torch.nn.functional.one_hot(answers, 3).float())
    assert torch.equal(columns["said"], columns["true"])
    assert not torch.equal(columns["seen"], columns["true"])


@pytest.mark.parametrize(
    ("size", "grid", "taken", "holes"), [(32, None, 0.33, 3), (64, None, 0.25, 4), (32, 4, 0.5, 8), (32, 2, 0.1, 2)]
)
def test_patches_are_as_many_as_suit_the_size(size, grid, taken, holes):
    method = make(size, grid=grid, taken=taken)
    assert method.predict(method.hide({"images": torch.rand(2, 3, size, size)})[0]).shape == (2, holes, holes)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"grid": 5}, "too small for 5 x 5 tiles. Give --size 40 or more"),
        ({"grid": 1}, "grid must be"),
        ({"taken": 0.99}, "taken must leave some of the 9 patches, but 0.99 removes all of them"),
        ({"width": 48}, "width must be"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        find("selfie")(nets.build("convnet", size=32, channels=3), **wrong)


@pytest.mark.parametrize(("size", "tile"), [(32, 9), (64, 14), (96, 21)])
def test_there_are_gaps_between_patches(size, tile):
    """Else edges would tell which patch goes where."""
    method = make(size)
    assert method.tile == tile < size // method.grid
