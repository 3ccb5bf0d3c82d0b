"""Columns of tables that are sparse, or whose classes are rare."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from withhold import evaluation
from withhold.data.targets import Target
from withhold.errors import UsageError
from withhold.evaluation.protocols import columns
from withhold.evaluation.task import Task

KINDS = ("ant", "bee", "cat")


@pytest.fixture
def make_part(make_samples):
    """Images with a column of two classes, and the columns given: numbers, or class numbers into `KINDS`."""

    def make(**values):
        count = len(next(iter(values.values())))
        samples = make_samples([0] * count)
        targets = {"whole": Target(np.arange(count) % 2, ("a", "b"))}
        for name, column in values.items():
            numbers = np.asarray(column)
            floats = numbers.dtype.kind == "f"
            targets[name] = Target(numbers.astype(np.float32)) if floats else Target(numbers, KINDS)
        samples.give("targets", targets)
        return samples

    return make


NUMBERS, UNKNOWN, CLASSES, NONE = [0.5, 1.5, 2.5, 4.5] * 3, [0.5] + [math.nan] * 11, [0, 1] * 6, [-1] * 12


@pytest.mark.parametrize(
    ("known", "asked", "reason"),
    [
        (NUMBERS, UNKNOWN, "Fewer than two test items have a known value"),
        (UNKNOWN, NUMBERS, "Fewer than two training items have a known value"),
        (CLASSES, NONE, "Fewer than two test items have a known value"),
        (NONE, CLASSES, "Fewer than two training items have a known value"),
        (NUMBERS, NONE, "Fewer than two test items have a known value"),  # an empty column is one of classes
        (NUMBERS, CLASSES, "It holds classes in one part and numbers in the other"),
        (CLASSES, [2] * 12, "No test item has a class of a training item"),
        ([0] * 12, CLASSES, "All 12 items of zoo with a label are of class 'ant'"),
    ],
)
def test_a_column_that_cannot_be_measured_is_left_out_and_the_reason_said(
    make_part, encoder, known, asked, reason, caplog
):
    train, test = make_part(sparse=known), make_part(sparse=asked)
    rows = evaluation.evaluate(encoder, train, test, ("columns",))
    assert [(row["encoder"], row["column"]) for row in rows] == [("trained", "whole"), ("pixels", "whole")]
    assert any(said.startswith(f"the column sparse is left out. {reason}") for said in caplog.messages)
    for part in (train, test):
        del part.parts["targets"]["whole"]
    with pytest.raises(UsageError, match=r"No column of zoo can be measured; .* \(sparse\)"):
        evaluation.evaluate(encoder, train, test, ("columns",))


def test_test_items_of_a_class_that_was_not_trained_are_left_out_and_counted(make_part, make_task, caplog):
    train, test = make_part(kind=[0, 1] * 6), make_part(kind=[0, 1, 2, -1, 1, 0, 2])
    rows = columns.measure(make_task(train, test))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["column kind: 2 test items left out, of classes without a training item: 'cat'"]
    same = columns.measure(make_task(train, test.select([0, 1, 4, 5])))
    assert [row for row in rows if row["column"] == "kind"] == [row for row in same if row["column"] == "kind"]
    assert {row["column"]: row["n_test"] for row in rows} == {"whole": 7, "kind": 4}


def test_columns_that_name_items_are_left_out_and_said(make_part, encoder, caplog):
    part = make_part(kind=CLASSES)
    part.parts["targets"] = {"title": Target(np.arange(12), tuple(map(str, range(12)))), **part.targets}
    rows = evaluation.evaluate(encoder, part, part, ("columns",))
    assert {row["column"] for row in rows} == {"whole", "kind"}
    assert "columns left out because they name items or files: title" in caplog.messages
    part.parts["targets"] = {"title": part.targets["title"]}
    with pytest.raises(UsageError, match=r"no column in common except those that name items or files \(title\)"):
        evaluation.evaluate(encoder, part, part, ("columns",))


def test_whole_numbers_written_as_floats_are_the_same_classes(make_part, encoder):
    train, test = make_part(told=CLASSES), make_part(told=CLASSES)
    train.parts["targets"]["told"] = Target(np.array(CLASSES), ("0", "1"))
    test.parts["targets"]["told"] = Target(np.array(CLASSES), ("0.0", "1.0"))
    task = Task(encoder, train, test, 0, torch.device("cpu"), 1, method=SimpleNamespace(targets={"told": ("0", "1")}))
    rows = columns._classes(task, "told", np.array(CLASSES))
    assert [row["value"] for row in rows if row["by"] == "answers"] == [1.0]
