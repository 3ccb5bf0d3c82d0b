"""Several runs side by side."""

from withhold.console import print_comparison
from withhold.report.compare import column, compare


def test_a_row_holds_what_the_run_is_and_what_came_out(make_run, capsys):
    results = [
        {"encoder": encoder, "protocol": "knn", "metric": "accuracy", "value": value, "data": "digits", "n_test": 8}
        for encoder, value in [("trained", 0.75), ("untrained", 0.5), ("pixels", 0.25)]
    ]
    results.append({**results[0], "encoder": "start", "value": 0.625})
    results.append({**results[0], "protocol": "lowshot", "shots": 5, "value": 0.4, "deviation": 0.1})
    results.append({**results[0], "data": "photos", "value": 0.1})
    done, begun = make_run("done", results=results), make_run("begun", rows=[], finished=False)
    first, other, second = compare([done, begun])
    about = {
        "run": str(done.folder), "method": "rotation", "encoder": "convnet", "data": "digits", "seed": 3,
        "steps": 20, "seconds": 10.0, "loss": 0.5,
    }  # fmt: skip
    measures = {"knn": 0.75, "lowshot 5/class": 0.4, "knn untrained": 0.5, "knn start": 0.625}
    assert first == about | {"measured on": "digits"} | measures
    print_comparison([first, other])
    said = capsys.readouterr().out
    assert "0.75 (0.5, 0.625)" in said
    assert "In brackets: the same encoder untrained, and as its training began." in said
    assert other == about | {"measured on": "photos", "knn": 0.1}
    assert second == {
        "run": str(begun.folder), "method": "rotation", "encoder": "convnet", "data": "digits", "seed": 3
    }  # fmt: skip


def test_the_doctor_looks_at_the_control(make_run):
    rows = [
        {"encoder": encoder, "protocol": "linear", "metric": "accuracy", "value": value, "data": "digits", "n_test": 8}
        for encoder, value in [("trained", 0.5), ("untrained", 0.5)]
    ]
    (found,) = make_run("low", results=rows).doctor()
    assert found.startswith(
        "A linear probe on digits is right for 50.0% with this encoder and for 50.0% with an untrain"
    )
    assert make_run("high", results=[rows[0] | {"value": 0.6}, rows[1]]).doctor() == []


def test_a_game_shows_the_loss_of_each_player(make_run):
    rows = [{"step": 5, "epoch": 1, "seconds": 2, "generator/loss": 0.5, "critic/loss": 0.7, "critic/accuracy": 0.6}]
    row = compare([make_run("game", rows=rows)])[0]
    assert (row["generator/loss"], row["critic/loss"]) == (0.5, 0.7)
    assert "critic/accuracy" not in row


def test_a_column_names_the_metric_unless_it_is_accuracy():
    assert column({"protocol": "linear", "metric": "accuracy"}) == "linear"
    assert column({"protocol": "segmentation", "metric": "miou"}) == "segmentation miou"
