import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F

from withhold import data, nets
from withhold.console import column
from withhold.errors import UsageError
from withhold.evaluation import evaluate
from withhold.evaluation.protocols import retrieval
from withhold.evaluation.protocols.retrieval import average_precision
from withhold.evaluation.task import Task


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("chunk", [2**22, 100, 1])
def test_average_precision_is_scikit_learns_whatever_the_chunk(chunk, monkeypatch):
    monkeypatch.setattr(retrieval, "CHUNK", chunk)
    x, classes = unit(60, 8), torch.randint(4, (60,), generator=torch.Generator().manual_seed(1))
    precision, first = average_precision(x, classes)
    similarity = x @ x.T
    for i in range(60):
        others = torch.arange(60) != i
        relevant = (classes == classes[i])[others]
        assert precision[i].item() == pytest.approx(average_precision_score(relevant, similarity[i, others]), abs=1e-6)
        assert first[i].item() == relevant[similarity[i, others].argmax()]


def test_ties_are_worth_what_they_are_in_scikit_learn():
    x = F.normalize(torch.randint(0, 2, (40, 3), generator=torch.Generator().manual_seed(0)).float(), dim=1)
    classes = torch.arange(40) % 3
    precision, first = average_precision(x, classes)
    similarity = x @ x.T
    for i in range(40):
        others = torch.arange(40) != i
        relevant, similar = (classes == classes[i])[others], similarity[i, others]
        assert precision[i].item() == pytest.approx(average_precision_score(relevant, similar), abs=1e-6)
        assert first[i].item() == pytest.approx(relevant[similar == similar.max()].float().mean().item())


def test_an_item_alone_in_its_class_asks_nothing_but_is_in_the_way_of_others():
    x = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3]]), dim=1)
    precision, first = average_precision(x, torch.tensor([0, 1, 0]))
    assert precision[[0, 2]].tolist() == [0.5, 0.5]
    assert first[[0, 2]].tolist() == [0.0, 0.0]
    assert precision[1].isnan()
    assert first[1].isnan()


def test_rows_of_an_encoder_and_of_pixels(encoder, digits, make_task):
    train, test = data.load("digits", size=32).split(0.2, 0)
    rows = retrieval.measure(make_task(train.select(range(300)), test.select(range(120)), encoder))
    assert [(row["pooling"], row["whitened"]) for row in rows] == [
        (name, white) for name in ("average", "MAC", "R-MAC", "GeM") for white in (False, True)
    ]
    assert {row["metric"] for row in rows} == {"mAP"}
    assert {row["n_queries"] for row in rows} == {120}
    assert len({row["value"] for row in rows}) == 8
    assert all(0.1 < row["value"] <= row["recall_at_1"] <= 1 for row in rows)
    pixels = retrieval.measure(make_task(*digits))
    assert len(pixels) == 8
    assert {row["value"] for row in pixels[::2]} == {pixels[0]["value"]}
    assert {row["value"] for row in pixels[1::2]} == {pixels[1]["value"]}
    assert pixels[0]["value"] > 0.5
    assert pixels[0]["recall_at_1"] > 0.95


def test_average_pooling_is_the_encoders_own_feature(encoder, digits, make_task):
    task = make_task(*(samples.select(range(80)) for samples in digits), encoder)
    rows = retrieval.measure(task)
    precision, _ = average_precision(F.normalize(task.queries, dim=1), task.answers)
    assert rows[0]["value"] == pytest.approx(precision.mean().item(), abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_collapsed_features_give_chance_although_the_items_come_by_class(value, make_samples, make_task, monkeypatch):
    samples = make_samples([0] * 200 + [1] * 200)
    monkeypatch.setattr(Task, "features", lambda task, samples: torch.full((len(samples), 16), value))
    for row in retrieval.measure(make_task(samples, samples)):
        assert row["value"] == pytest.approx(0.5, abs=0.03)


def test_the_control_stands_beside_each_pooling(encoder, digits):
    parts = [samples.select(range(60)) for samples in digits]
    rows = evaluate(encoder, *parts, ("retrieval",))
    assert [row["encoder"] for row in rows] == ["trained"] * 8 + ["pixels"] * 8


def test_a_stage_and_a_pooling_are_measured_in_the_encoder_and_its_controls(encoder, digits):
    parts = [samples.select(range(60)) for samples in digits]
    pooled = nets.Pooled(encoder, 2, "MAC")
    rows = evaluate(pooled, *parts, ("retrieval", "knn"), controls={"untrained": pooled}, learned=[])
    assert [(row["encoder"], row.get("whitened")) for row in rows if row["protocol"] == "retrieval"] == [
        (name, white) for name in ("trained", "untrained", "pixels") for white in (False, True)
    ]
    assert {(row["stage"], row["pooling"]) for row in rows} == {(2, "MAC")}
    precision, _ = average_precision(F.normalize(nets.features(pooled, parts[1]), dim=1), torch.tensor(parts[1].labels))
    assert rows[0]["value"] == pytest.approx(precision.mean().item(), abs=1e-5)
    assert column(rows[0]) == "retrieval mAP stage 2 MAC"


def test_what_a_method_says_is_measured_beside_the_poolings(encoder, digits, make_task):
    class Says(nn.Module):
        def says(self):
            return {"descriptor": lambda images: F.normalize(images.flatten(1), dim=1)}

    task = make_task(*(samples.select(range(80)) for samples in digits), encoder, method=Says())
    pixels = retrieval.measure(make_task(task.train, task.test))
    own = retrieval.measure(task)[-1]
    assert own["pooling"] == "descriptor" and "whitened" not in own
    assert own["value"] == pytest.approx(pixels[0]["value"], abs=1e-4)


def test_nothing_to_ask_for(make_samples, make_task):
    with pytest.raises(UsageError, match="No two items of zoo have the same class"):
        retrieval.measure(make_task(make_samples([0, 1, 2] * 4), make_samples([0, 1, 2])))
