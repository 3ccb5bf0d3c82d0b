import math

import pytest
import torch

from tests.methods.toys import overfit
from withhold import losses, nets
from withhold.methods import build, find
from withhold.methods.transfer.detection import SPREAD, corners, distinct, spread

NAMES = ("red", "blue")
NAN = math.nan


def make(encoder="convnet", size=32, channels=3, classes=NAMES, **values):
    torch.manual_seed(0)
    return build(find("detection"), nets.build(encoder, size=size, channels=channels), values, {"classes": classes})


def scenes(n=16, size=32, seed=0):
    """Red and blue rectangles on grey, one of each, of 8 to 14 pixels, and their boxes [n, 3, 6], the last missing."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.full((n, 3, size, size), 90, dtype=torch.uint8)
    boxes = torch.full((n, 3, 6), NAN)
    for image, found in zip(images, boxes, strict=True):
        for number, channel in enumerate((0, 2)):
            w, h = torch.randint(8, 15, (2,), generator=rng).tolist()
            left = int(torch.randint(0, size // 2 - w + 1, (1,), generator=rng)) + number * size // 2
            top = int(torch.randint(0, size - h + 1, (1,), generator=rng))
            image[:, top : top + h, left : left + w] = 20
            image[channel, top : top + h, left : left + w] = 230
            found[number] = torch.tensor([left, top, left + w, top + h, number, 0])
    return images, boxes


def test_heat_is_one_in_the_cell_of_a_middle_and_falls_off_as_a_bell():
    boxes = torch.tensor([[[1.0, 2, 5, 4, 1, 0], [2, 2, 6, 8, 0, 2], [NAN] * 6, [6, 6, 8, 8, 0, 1]]])
    bumps, known = spread(boxes, torch.Size((8, 8)))
    bumps = bumps.view(1, 4, 8, 8)
    for y in range(8):
        for x in range(8):
            expected = math.exp(-(((x - 3) / (SPREAD * 4)) ** 2 + ((y - 3) / (SPREAD * 2)) ** 2) / 2)
            assert bumps[0, 0, y, x].item() == pytest.approx(expected, abs=1e-6)
            ignored = (2 < x + 0.5 < 6 and 2 < y + 0.5 < 8) or (6 < x + 0.5 < 8 and 6 < y + 0.5 < 8)
            assert known[0, y, x].item() != ignored
    assert bumps[0, 0, 3, 3] == 1
    assert not bumps[0, 1:].any(), "neither what is ignored nor what is missing is to be found"


def test_corners_are_distances_from_the_middles_of_cells():
    distances = torch.tensor([1.0, 2, 3, 4]).log()[None, :, None, None].expand(1, 4, 2, 3)
    assert corners(distances)[0, :, 1, 2].tolist() == pytest.approx([2.5 - 1, 1.5 - 2, 2.5 + 3, 1.5 + 4])


def test_the_loss_knows_which_box_is_near():
    """What says the true boxes with certainty costs nothing; with two boxes exchanged it costs."""
    method = make()
    _, boxes = scenes(1)
    boxes[0, 2] = torch.tensor([0.0, 0, 32, 32, 0, 2])  # around everything, and ignored
    cells = boxes / boxes.new_tensor([4] * 4 + [1, 1])
    bumps, _ = spread(cells, torch.Size((8, 8)))
    scores, distances = torch.full((1, 2, 8, 8), -20.0), torch.zeros(1, 4, 8, 8)
    x, y = torch.arange(8) + 0.5, torch.arange(8)[:, None] + 0.5
    for number in (0, 1):
        near = bumps[0, number].view(8, 8) >= bumps[0, 1 - number].view(8, 8)
        left, top, right, bottom = cells[0, number, :4]
        far = torch.stack(
            [(x - left).expand(8, 8), (y - top).expand(8, 8), (right - x).expand(8, 8), (bottom - y).expand(8, 8)]
        )
        distances[0][:, near] = far.clamp(min=1e-3).log()[:, near]
        scores[0, number].view(-1)[bumps[0, number].argmax()] = 20
    terms = method.loss((scores, distances), boxes)
    assert terms["heat"].item() == pytest.approx(0, abs=1e-5)
    assert terms["corners"].item() < 0.1
    wrong = method.loss((scores.flip(1), distances), boxes)
    assert wrong["heat"] > 10
    assert terms["loss"].item() == pytest.approx(terms["heat"].item() + 5 * terms["corners"].item())
    moved = boxes.clone()
    moved[..., :2] -= 4
    assert method.loss((scores, distances), moved)["corners"] > terms["corners"] + 0.1


def test_images_without_boxes_teach_that_nothing_is_there():
    method = make()
    images, boxes = scenes(4)
    terms = method({"images": (images, boxes * NAN)})
    terms["loss"].backward()
    assert terms["loss"].isfinite() and terms["corners"].item() == 0
    assert all(w.grad is None or w.grad.isfinite().all() for w in method.parameters())


def test_images_of_a_source_without_any_box_teach_the_same():
    method = make()
    said = torch.randn(2, 2, 8, 8), torch.randn(2, 4, 8, 8)
    none, missing = (method.loss(said, torch.full((2, m, 6), NAN)) for m in (0, 3))
    assert {name: term.item() for name, term in none.items()} == {name: term.item() for name, term in missing.items()}
    seen, boxes = method.hide({"images": (scenes(2)[0], torch.zeros(2, 0, 6))})
    assert torch.equal(method.picture(seen, boxes, method.predict(seen))["true"], seen)


def test_a_cell_that_counts_nothing_cannot_spoil_the_loss():
    distances = torch.zeros(1, 4, 8, 8)
    distances[..., 7, 7] = 89.0  # whose exponential is infinite
    distances.requires_grad_()
    terms = make().loss((torch.zeros(1, 2, 8, 8), distances), torch.tensor([[[0.0, 0, 8, 8, 0, 0]]]))
    terms["loss"].backward()
    assert terms["corners"].isfinite() and distances.grad.isfinite().all() and distances.grad.any()


def test_nothing_that_is_said_inside_a_crowd_is_wrong():
    boxes = torch.tensor([[[0.0, 0, 32, 32, 0, 2], [NAN] * 6]])
    said = torch.full((1, 2, 8, 8), 5.0), torch.zeros(1, 4, 8, 8)
    assert make().loss(said, boxes)["heat"] == 0
    assert make().loss(said, boxes * NAN)["heat"] > 100


def test_a_peak_is_the_box_that_its_distances_say(monkeypatch):
    """Class 1 at row 3 and column 4 of cells of 4 pixels."""
    method = make()
    scores, distances = torch.full((1, 2, 8, 8), -20.0), torch.zeros(1, 4, 8, 8)
    scores[0, 1, 3, 4], scores[0, 1, 3, 5] = 9, 8  # the second one is no peak
    distances[0, :, 3, 4] = torch.tensor([1.5, 2, 3, 2.5]).log()
    monkeypatch.setattr(method, "predict", lambda images: (scores, distances))
    found = method.detect(torch.zeros(1, 3, 32, 32))[0]
    expected = [4 * (4.5 - 1.5), 4 * (3.5 - 2), 4 * (4.5 + 3), 4 * (3.5 + 2.5), 1, 1 / (1 + math.exp(-9))]
    assert found[0].tolist() == pytest.approx(expected, rel=1e-5)
    assert (found[1:, 5] < 1e-6).all()


def test_of_boxes_of_a_class_that_overlap_the_surest_stays():
    boxes = torch.tensor(
        [[0.0, 0, 10, 10, 0, 0.5], [0, 1, 10, 10, 0, 0.9], [0, 0, 10, 10, 1, 0.3], [6, 6, 16, 16, 0, 0.4]]
    )
    assert distinct(boxes)[:, 5].tolist() == pytest.approx([0.9, 0.4, 0.3])
    assert distinct(boxes[:0]).shape == (0, 6)


def test_it_learns_scenes_and_gives_boxes_of_images_of_any_shape():
    method, (images, boxes) = make(), scenes(8)
    history = overfit(method, {"images": (images, boxes)}, range(120), lr=5e-3)
    assert history[-1]["loss"] < 0.4 * history[0]["loss"]
    method.eval()
    wide, truth = torch.cat([images[0], images[1]], 2), torch.cat([boxes[0, :2], boxes[1, :2]])
    truth[2:, [0, 2]] += 32
    for scale in (1, 3):  # pixels of a file for each that it sees
        large = wide.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        with torch.no_grad():
            found = method.apply_to(large)
        said, overlay = found["boxes"], found["overlay"].pixels
        assert overlay.shape == large.shape and not torch.equal(overlay, large / 255)
        assert said.scores == sorted(said.scores, reverse=True)
        for box in truth:
            near = losses.iou(said.corners, scale * box[:4])
            assert near.max() > 0.6
            assert said.names[near.argmax()] == NAMES[int(box[4])]
        assert len(said.names) <= 6


@pytest.mark.parametrize("encoder", ["vit-tiny", "efficientnet-lite0"])
def test_other_encoders_and_sizes_give_boxes_in_pixels(encoder):
    method = make(encoder).eval()
    with torch.no_grad():
        found = method.detect(torch.rand(2, 3, 32, 32))
    assert found.shape[::2] == (2, 6) and 0 < found.shape[1] <= 100
    assert ((found[..., :4] >= 0) & (found[..., :4] <= 32)).all()
    assert set(found[..., 4].unique().tolist()) <= {0, 1}
    assert (found[..., 5].diff(dim=1) <= 0).all()


def test_what_is_frozen_stays_as_it_is():
    method = make(freeze="all")
    before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
    method.train()
    overfit(method, {"images": scenes()}, range(2))
    assert all(torch.equal(value, before[name]) for name, value in method.encoder.state_dict().items())
