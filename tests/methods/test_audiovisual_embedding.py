import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from tests.methods.toys import overfit
from withhold import data, losses, nets
from withhold.errors import UsageError
from withhold.methods import build, find

RATE = 4000


def make(**values):
    torch.manual_seed(0)
    return build(find("audiovisual_embedding"), nets.build("audiovisual", size=32, channels=3, rate=RATE), values)


def pairs(n=8, frames=1):
    """Pictures of a shade each with tones of a pitch each."""
    number = torch.arange(n)
    rng = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 60, (n, frames, 3, 32, 32), generator=rng) + 180 * number.view(-1, 1, 1, 1, 1) // n
    waves = 8000 * torch.sin(2 * math.pi * (150 + 200 * number[:, None]) * torch.arange(RATE // 4) / RATE)
    return {"clips": (pictures.to(torch.uint8), waves.to(torch.int16))}


def test_the_network_sees_changed_pairs_and_each_picture_gets_anothers_sound():
    method = make()
    (seen, heard), others = method.hide(pairs())
    assert seen.shape == (8, 1, 3, 32, 32)
    assert heard.shape == (8, RATE // 4)
    assert (others != torch.arange(8)).all()
    assert others.sort().values.tolist() == list(range(8))
    clean = pairs()["clips"][1] / 32768
    louder = heard.norm(dim=1) / clean.norm(dim=1)
    assert 0.89 < louder.min() < louder.max() < 1.13
    assert louder.std() > 0.01
    assert F.cosine_similarity(heard, clean).min() > 0.999


def test_the_frames_of_a_clip_are_cropped_alike():
    batch = pairs(frames=4)
    batch["clips"][0][:] = batch["clips"][0][:, :1]
    (seen, _), _ = make(frames=4).hide(batch)
    torch.testing.assert_close(seen, seen[:, :1].expand_as(seen))
    assert (seen[0, 0] - seen[1, 0]).abs().max() > 0.05


def test_embeddings_have_length_one_and_near_ones_match_from_the_start():
    method = make()
    seen, heard = method.predict(method.hide(pairs())[0])
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(heard.norm(dim=1), torch.ones(8))
    scores = method.judge(torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[1.0, 0], [-1, 0]]))
    assert scores[0].tolist() == pytest.approx([-1.2, 1.2], abs=1e-5)  # no distance: a match
    assert scores[1].tolist() == pytest.approx([0.2, -0.2], abs=1e-5)  # the largest there is, 2: none
    assert method.verdict.weight.requires_grad


def test_the_distance_loss_is_binary_cross_entropy_of_twice_the_pairs():
    method = make()
    rng = torch.Generator().manual_seed(0)
    seen, heard = (F.normalize(torch.randn(6, 4, generator=rng), dim=1) for _ in range(2))
    others = torch.tensor([1, 2, 3, 4, 5, 0])
    expected, right = [], 0
    for i in range(6):
        for j, match in ((i, 1.0), (int(others[i]), 0.0)):
            logit = 2.4 - 1.4 * math.dist(seen[i].tolist(), heard[j].tolist())
            expected.append(math.log1p(math.exp(-logit if match else logit)))
            right += (logit > 0) == bool(match)
    terms = method.loss((seen, heard), others)
    assert terms["loss"].item() == pytest.approx(sum(expected) / 12, rel=1e-4)
    assert terms["accuracy"].item() == pytest.approx(right / 12)
    assert terms["trivial"] == math.log(2)


def test_the_contrastive_loss_knows_no_verdict():
    method = make(objective="contrastive", temperature=0.5)
    assert not hasattr(method, "verdict")
    seen, heard = F.normalize(torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    terms = method.loss((seen, heard), None)
    torch.testing.assert_close(terms["loss"], losses.symmetric_info_nce(seen, heard, 0.5))
    assert terms["trivial"] == math.log(6)
    assert method.loss((seen, seen), None)["accuracy"] == 1


@pytest.mark.parametrize(("objective", "least"), [("distance", 0.7), ("contrastive", 0.95)])
def test_it_learns_a_batch_by_heart(objective, least):
    """The verdict on distances starts where unrelated ones count as a match, and moves slowly."""
    terms = overfit(make(objective=objective, flip=0.0), pairs(), range(50), lr=1e-3)[-10:]
    assert sum(t["loss"].item() for t in terms) / 10 < 0.85 * terms[-1]["trivial"]
    assert sum(t["accuracy"].item() for t in terms) / 10 > least


def test_both_trunks_learn_and_nothing_flows_into_the_views():
    method = make()
    (seen, heard), others = method.hide(pairs())
    assert not seen.requires_grad and not heard.requires_grad
    method.loss(method.predict((seen, heard)), others)["loss"].backward()
    for part in (method.encoder.sight, method.encoder.hearing, method.encoder.see, method.encoder.hear):
        assert all(parameter.grad.abs().sum() > 0 for parameter in part.parameters())


GRID = 160  # samples between two frames at 25 a second


def traces(seed):
    """A long recording in which coding has left a trace on the grid of the frames: a little more noise there."""
    rng = np.random.default_rng(seed)
    place = np.arange(200 * GRID) % GRID
    return (1000 * rng.standard_normal(len(place)) * (1 + 0.5 * (place < 20))).astype(np.int16)


def tell_apart(yes, no, other_yes, other_no):
    """How often a classifier that hears one sound, and sees nothing, names the class of other sounds."""

    def features(sounds):
        return np.abs(np.asarray(sounds, dtype=np.float32)).reshape(len(sounds), -1, GRID).mean(1)

    classifier = LogisticRegression(C=1e-4, max_iter=200).fit(
        np.concatenate([features(yes), features(no)]), np.repeat([1, 0], [len(yes), len(no)])
    )
    answers = np.repeat([1, 0], [len(other_yes), len(other_no)])
    return classifier.score(np.concatenate([features(other_yes), features(other_no)]), answers)


def test_sounds_cut_on_a_grid_would_give_the_class_away_and_ours_do_not():
    """The shortcut that the authors found, with their first way to draw the sounds that do not match, and with ours."""
    rng = np.random.default_rng(0)

    def cut(recording, begins):
        return np.stack([recording[begin : begin + RATE] for begin in begins])

    def drawn_apart(seed):
        recording = traces(seed)
        return (
            cut(recording, GRID * rng.integers(0, 170, 100)),
            cut(recording, rng.integers(0, 170 * GRID, 100)),
        )

    assert tell_apart(*drawn_apart(1), *drawn_apart(2)) > 0.9

    def drawn_by_us(seed):
        recording = traces(seed)
        spans, rows = np.array([[0, len(recording)]]), np.zeros(1, np.int64)
        sound = data.Series(recording, spans, RATE, "audio", RATE, rows, names=np.array(["a"]))
        frames = np.zeros((200, 8, 8, 3), np.uint8)
        clips = data.Series(frames, np.array([[0, 200]]), 1, "video", 25.0, rows, names=np.array(["a"]))
        windows = data.Joined(clips, sound).windows()
        method = make()
        method.seed(seed)
        (_, heard), others = method.hide({"clips": windows.batch(np.arange(len(windows)))})
        return 32768 * heard.numpy(), 32768 * heard[others].numpy()

    yes, no = drawn_by_us(1)
    assert tell_apart(yes, no, yes, no) == 0.5, "the same sounds are in both classes"
    assert tell_apart(yes, no, *drawn_by_us(2)) == 0.5


def test_what_makes_no_sense_is_refused():
    for values, sentence in (({"temperature": 0.0}, "temperature"), ({"flip": 2.0}, "flip")):
        with pytest.raises(UsageError, match=sentence):
            make(**values)
    with pytest.raises(UsageError, match="AudioVisualEncoder"):
        build(find("audiovisual_embedding"), nets.build("convnet", size=32, channels=3), {})
