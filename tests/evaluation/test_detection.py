"""Object detection: metrics and baselines."""

import contextlib
import io

import numpy as np
import pytest
import torch

from tests.methods.test_detection import NAMES, scenes
from withhold import data, evaluation, nets
from withhold.data import Samples, Target
from withhold.errors import UsageError
from withhold.evaluation.boxes import average_precision, overlaps
from withhold.evaluation.protocols import detection
from withhold.methods import build, find


def by_pycocotools(said, truth, classes):
    """The precision [k, 10] that COCO's own tool reads, NaN where no box is to be found."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    def box(corners):
        left, top, right, bottom = corners.tolist()
        return {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}

    rows = [(n, one) for n, boxes in enumerate(truth) for one in boxes]
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {
            "images": [{"id": n} for n in range(len(truth))],
            "categories": [{"id": number} for number in range(classes)],
            "annotations": [
                {"id": k + 1, "image_id": n, "category_id": int(one[4]), "iscrowd": int(one[5] > 0), **box(one[:4])}
                for k, (n, one) in enumerate(rows)
            ],
        }
        known.createIndex()
        found = known.loadRes([
            {"image_id": n, "category_id": int(one[4]), "score": float(one[5]), **box(one[:4])}
            for n, boxes in enumerate(said) for one in boxes
        ])  # fmt: skip
        judge = COCOeval(known, found, "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2].mean(1).T  # all areas, 100 boxes
    return np.where(precision < 0, np.nan, precision)


def random_boxes(rng, count, classes, last):
    start = rng.uniform(0, 60, (count, 2))
    return np.column_stack(
        [start, start + rng.uniform(5, 40, (count, 2)), rng.integers(0, classes, count), last(count)]
    )


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed):
    """Of boxes that are right, shifted, doubled or invented, with equal scores among them, and with crowds."""
    rng = np.random.default_rng(seed)
    said, truth = [], []
    for _ in range(12):
        true = random_boxes(rng, rng.integers(0, 9), 3, lambda n: 2 * (rng.random(n) < 0.2))
        near = np.concatenate([true, true[:2]])
        near[:, :4] += rng.normal(0, 2, (len(near), 4))
        near[:, 5] = rng.random(len(near)).round(1)
        invented = random_boxes(rng, rng.integers(0, 130 if seed == 3 else 6), 3, lambda n: rng.random(n).round(2))
        both = np.concatenate([near, invented])
        said.append(both[(both[:, 2:4] > both[:, :2]).all(1)])
        truth.append(true)
    found = average_precision(said, truth, 4)
    assert np.isnan(found[3]).all()
    assert 0.05 < found[:3].mean() < 0.95
    np.testing.assert_allclose(found, by_pycocotools(said, truth, 4), atol=1e-12)


def test_what_is_difficult_is_neither_to_be_found_nor_wrong():
    """As in Pascal VOC, by its IoU; a crowd's box takes whatever lies in it."""
    box = np.array([[0.0, 0, 10, 10, 0, 0], [20, 20, 60, 60, 0, 1]])
    right, within, twice = np.array([[0.0, 0, 10, 10, 0, 0.5], [21, 21, 31, 31, 0, 0.9], [20, 20, 60, 60, 0, 0.8]])
    assert average_precision([np.stack([right, twice, twice])], [box], 1).tolist() == [[1.0] * 10]
    assert average_precision([np.stack([right, within])], [box], 1).tolist() == [[0.5] * 10]
    box[1, 5] = 2
    assert average_precision([np.stack([right, within])], [box], 1).tolist() == [[1.0] * 10]
    assert average_precision([right[:0].reshape(0, 6)], [box], 1).tolist() == [[0.0] * 10]


def test_overlaps_by_counting_pixels():
    said, truth = np.array([[0, 0, 4, 4], [2, 2, 6, 8]]), np.array([[2, 2, 6, 8], [8, 8, 9, 9]])
    assert overlaps(said, truth).tolist() == [[4 / 36, 0], [1, 0]]
    assert overlaps(said, truth, np.array([True, False])).tolist() == [[4 / 16, 0], [1, 0]]


def shown(count, seed, classes=NAMES):
    images, boxes = scenes(count, seed=seed)
    samples = data.load((images.permute(0, 2, 3, 1).numpy(), np.zeros(count, dtype=np.int64)), size=32)
    samples.give("boxes", Target(boxes.numpy(), classes))
    return samples


@pytest.fixture
def rows():
    torch.manual_seed(0)
    encoder = nets.build("convnet", size=32, channels=3)
    method = build(find("detection"), encoder, {}, {"classes": NAMES})
    return evaluation.evaluate(
        encoder, shown(40, 0), shown(12, 1), ("detection",), controls={"untrained": encoder},
        methods={"trained": method, "untrained": method}, budget=640, learned=[],
    )  # fmt: skip


def test_boxes_of_a_method_and_of_maps_stand_beside_the_control(rows):
    found = {(row["encoder"], row.get("by"), row["metric"]): row["value"] for row in rows}
    by = [("trained", "boxes"), ("trained", "maps"), ("untrained", "maps"), ("places", None)]
    assert list(found) == [(*who, metric) for who in by for metric in ("AP", "AP50")]
    assert found["trained", "maps", "AP50"] > 0.5 > found["trained", "boxes", "AP50"]
    assert found["untrained", "maps", "AP50"] > 0.5 > found["places", None, "AP50"] > 0
    assert all(row["value"] == pytest.approx(np.mean(list(row["classes"].values()))) for row in rows)


def test_places_are_the_usual_boxes_of_each_class():
    boxes = np.full((4, 2, 6), np.nan, dtype=np.float32)
    boxes[:3, 0] = [[0, 0, 10, 10, 1, 0], [0, 2, 10, 10, 1, 0], [0, 1, 10, 10, 1, 0]]
    samples = Samples(np.zeros((4, 32, 32, 3), np.uint8), np.arange(4).astype(str))
    samples.give("boxes", Target(boxes, NAMES))
    np.testing.assert_allclose(detection.places(samples), [[0, 1, 10, 10, 1, 0.75]])


def test_classes_go_by_their_names():
    train, test = shown(3, 0), shown(3, 1, ("blue", "red"))
    turned = detection.boxes_of(test, train.parts["boxes"].classes)
    assert [boxes[:, 4].tolist() for boxes in turned] == [[1, 0]] * 3
    with pytest.raises(UsageError, match="have the class 'green', but the training boxes do not"):
        detection.boxes_of(shown(3, 1, ("red", "green")), NAMES)
    test.parts["boxes"].values[..., 5] = 1
    with pytest.raises(UsageError, match=r"have no boxes to find\. Draw some"):
        detection.boxes_of(test, NAMES)
