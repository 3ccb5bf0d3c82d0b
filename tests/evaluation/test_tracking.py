"""The tracking protocol: targets, features and result rows."""

import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from withhold import data, evaluation, nets, views
from withhold.console import column
from withhold.errors import UsageError, WithholdError
from withhold.evaluation import trackers
from withhold.evaluation.masks import boundary, region
from withhold.evaluation.protocols.tracking import agreement
from withhold.nets import tracking


@pytest.fixture
def moving(tmp_path):
    """Two sequences of a textured square of its own colour that moves over a textured background, 48 x 64 pixels."""
    rng = np.random.default_rng(0)
    for name, colour in (("red", (200, 40, 40)), ("blue", (40, 60, 200))):
        ground = rng.integers(60, 160, (12, 16, 3)).repeat(4, 0).repeat(4, 1)
        thing = np.array(colour) + rng.integers(-30, 30, (5, 5, 3)).repeat(4, 0).repeat(4, 1)
        for part in ("images", "masks"):
            (tmp_path / part / name).mkdir(parents=True)
        for number in range(6):
            frame, mask = ground.copy(), np.zeros((48, 64), dtype=np.uint8)
            place = (slice(12, 32), slice(4 + 5 * number, 24 + 5 * number))
            frame[place], mask[place] = thing, 255
            Image.fromarray(frame.astype(np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
            Image.fromarray(mask).save(tmp_path / "masks" / name / f"{number}.png")
    return tmp_path


def test_the_rows_are_means_without_the_first_frame(moving):
    """Of the copied mask, against a loop over the masks' files."""
    rows = agreement(trackers.copied, data.sequences(moving), 48)
    expected = {}
    for name in ("blue", "red"):
        masks = [torch.from_numpy(np.array(Image.open(moving / "masks" / name / f"{i}.png"))) > 0 for i in range(6)]
        for metric, compare in (("J", region), ("F", boundary)):
            expected[metric, name] = np.mean([compare(masks[0], mask) for mask in masks[1:]])
    assert [(row["metric"], row.get("sequence")) for row in rows] == [
        ("J", None), ("F", None), ("J", "blue"), ("F", "blue"), ("J", "red"), ("F", "red")
    ]  # fmt: skip
    for row in rows[2:]:
        assert row["value"] == pytest.approx(expected[row["metric"], row["sequence"]])
        assert row["n_test"] == 5
    for row in rows[:2]:
        assert row["value"] == pytest.approx(np.mean([expected[row["metric"], name] for name in ("blue", "red")]))
        assert row["n_test"] == 10


def test_raw_colours_follow_a_coloured_thing(moving):
    sequences = data.sequences(moving)
    followed, copied = (agreement(tracker, sequences, 48) for tracker in (trackers.by_color(48), trackers.copied))
    for row, control in zip(followed, copied, strict=True):
        assert row["value"] > control["value"] + 0.3


def test_patches_are_the_lab_around_the_middle_of_a_cell():
    """Their distances are root mean squares, in units that make `ALIKE` one deviation of the softmax."""
    images = torch.rand(2, 3, 16, 24)
    maps = trackers.lab_patches(images)
    assert maps.shape == (2, 75, 4, 6)
    lab = views.rgb_to_lab(images)
    first, second = lab[0, :, 8:13, 4:9], lab[1, :, 0:5, 16:21]
    distance = (maps[0, :, 2, 1] - maps[1, :, 0, 4]).square().sum() / (2 * tracking.TEMPERATURE)
    expected = (first - second).square().sum() / 25 / (2 * trackers.ALIKE**2)
    assert distance.item() == pytest.approx(expected.item(), rel=1e-4)


def test_several_objects_count_alike(moving):
    """Half of the square is another object, which the copied mask misses wholly in the end."""
    for path in sorted((moving / "masks").rglob("*.png")):
        labels = np.array(Image.open(path))
        labels[:22][labels[:22] > 0] = 7
        Image.fromarray(labels).save(path)
    sequence = data.sequences(moving)[1]
    rows = agreement(trackers.copied, [sequence], 48)
    masks = [sequence.mask(number).labels for number in range(6)]
    found = [
        np.mean([region(*(torch.from_numpy(m == value) for m in (masks[0], mask))) for value in (7, 255)])
        for mask in masks[1:]
    ]
    assert rows[0]["value"] == pytest.approx(np.mean(found))


def test_frames_without_a_mask_are_followed_through(moving):
    (moving / "masks" / "red" / "3.png").unlink()
    assert [row["n_test"] for row in agreement(trackers.copied, data.sequences(moving), 48)] == [9, 9, 5, 5, 4, 4]


def test_one_mask_is_nothing_to_compare_with(moving):
    for number in range(1, 6):
        (moving / "masks" / "red" / f"{number}.png").unlink()
    with pytest.raises(
        WithholdError, match=r"red only has the first mask\. Add a mask of another frame to compare with"
    ):
        agreement(trackers.copied, data.sequences(moving), 48)


def test_masks_of_several_sizes_are_refused(moving):
    Image.new("L", (60, 48)).save(moving / "masks" / "red" / "3.png")
    with pytest.raises(WithholdError, match=r"red/3\.png differs in size from the first mask\. Make all masks"):
        agreement(trackers.copied, data.sequences(moving), 48)


def test_an_encoder_stands_beside_its_controls(moving):
    torch.manual_seed(0)
    encoder, untrained = (nets.build("fineconv", size=32, channels=3).train() for _ in range(2))
    state = {name: value.clone() for name, value in untrained.state_dict().items()}
    rows = evaluation.evaluate(
        encoder, None, data.sequences(moving), ("tracking",), source="toys", controls={"untrained": untrained}
    )
    assert list(dict.fromkeys(row["encoder"] for row in rows)) == [
        "trained", "untrained", "untrained, near", "colors", "identity",
    ]  # fmt: skip
    assert {row["protocol"] for row in rows} == {"tracking"}
    assert {row["data"] for row in rows} == {"toys"}
    assert len(rows) == 5 * 6
    assert all(0 <= row["value"] <= 1 for row in rows)
    assert encoder.training
    assert all(torch.equal(state[name], value) for name, value in untrained.state_dict().items())
    means = {row["encoder"]: row["value"] for row in rows if row["metric"] == "J" and "sequence" not in row}
    assert means["untrained"] > means["identity"]  # its statistics are those of the frames, so that colours count
    assert list(evaluation.by_data(rows)) == ["toys"]
    assert all("sequence" not in row for row in evaluation.by_data(rows)["toys"])
    assert column(rows[2]) == "tracking J blue"


def test_only_tracking_takes_sequences(moving, encoder, digits):
    taking = [name for name in evaluation.names() if evaluation.find(name).takes == evaluation.SEQUENCES]
    assert taking == ["tracking"]
    with pytest.raises(UsageError, match=r"knn takes items \+ label, not video \+ mask"):
        evaluation.evaluate(encoder, None, data.sequences(moving), ("tracking", "knn"))
    with pytest.raises(UsageError, match=r"tracking takes video \+ mask, not image\. Run it separately"):
        evaluation.evaluate(encoder, *digits, ("tracking",))


def test_a_source_that_would_not_be_used_is_refused(moving):
    for more, named in (({"test": str(moving)}, "a second source"), ({"labels": "few.csv"}, "a file of labels")):
        with pytest.raises(UsageError, match=f"tracking is measured on videos with masks.*Remove {named}"):
            withhold.load("convnet").evaluate(str(moving), protocols=("tracking",), **more)


def test_near_asks_the_first_frame_too_about_places_nearby_only():
    """Equal maps, but for two places far apart that are alike in the first frame and the last."""
    maps = torch.zeros(2, 3, 10, 10)
    maps[:, 0] = 1
    maps[0, :, 0, 0], maps[1, :, 9, 9] = torch.tensor([0, 1.0, 0]), torch.tensor([0, 1.0, 0])
    first = torch.zeros(1, 10, 10)
    first[0, 0, 0] = 1
    anywhere, near = (nets.propagate(maps, first, near=near, neighbours=1)[1, 0, 9, 9].item() for near in (False, True))
    assert (anywhere, near) == (1, 0)
