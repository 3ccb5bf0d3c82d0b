"""Rows that a run is compared with: controls with the run's own statistics, and its pretrained start."""

import numpy as np
import pytest
from PIL import Image

from withhold import data, evaluation, nets
from withhold.console import print_results
from withhold.contract.tiny import RATE, sounds, videos
from withhold.errors import UsageError, WithholdError
from withhold.files import holding
from withhold.report import compare, report
from withhold.runs import embedder
from withhold.runs import run as runs
from withhold.runs.metadata import write_weights


@pytest.fixture
def photos_folder(photos, tmp_path):
    np.savez(tmp_path / "photos.npz", images=photos[:80], labels=np.arange(80) % 2)
    return str(tmp_path / "photos.npz")


@pytest.mark.parametrize("there", [True, False])
def test_an_untrained_run_is_worth_what_its_control_is(make_run, photos_folder, there):
    """A transfer, from digits to photographs, of a training without a step; also where the digits are gone."""
    run = make_run(data=["digits" if there else "gone/digits"])
    encoder = run.untrained()
    nets.refresh_statistics(encoder, evaluation.plain_batches([data.load("digits", size=32, channels=1)], "cpu"))
    write_weights(run.folder / "encoder.safetensors", encoder, {})
    rows = run.evaluate(photos_folder, protocols=("knn", "linear"))
    values = {(row["encoder"], row["protocol"]): row["value"] for row in rows}
    assert values["trained", "knn"] == values["untrained", "knn"]
    assert values["trained", "linear"] == values["untrained", "linear"]


def test_pretrained_weights_are_a_row_and_no_control_starts_from_them(make_run, photos_folder, monkeypatch):
    started, build = [], runs.build_encoder

    def pretrained(config, seed, begin=True):
        started.append(config["pretrained"])
        return build(config | {"pretrained": False}, 77 if config["pretrained"] else seed)

    for module in (runs, embedder):
        monkeypatch.setattr(module, "build_encoder", pretrained)
    config = {"name": "convnet", "size": 32, "channels": 1, "pretrained": True}
    run = make_run(encoder=config, finished=False, data=["gone"])
    write_weights(run.folder / "encoder.safetensors", pretrained(config, 3), {})
    rows = run.evaluate(photos_folder, protocols=("knn",))
    assert [row["encoder"] for row in rows] == ["trained", "untrained", "start", "pixels"]
    bank, queries = run.load_data(photos_folder).split(0.2, run.seed)
    (own,) = evaluation.evaluate(run.start(), bank, queries, ("knn",), learned=[], pixels=False)
    assert {row["value"] for row in rows if row["encoder"] == "start"} == {own["value"]}
    fresh = run.untrained().state_dict()
    assert started[-1] is False
    assert any((fresh[name] != value).any() for name, value in run.start().state_dict().items())


def test_what_a_method_says_is_measured_beside_that_of_fresh_weights(make_run, photos, tmp_path):
    for name, images, labels in (("normal", photos[:40], [0] * 40), ("mixed", photos[40:80], [0, 1] * 20)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.array(labels))
    sources = [str(tmp_path / f"{name}.npz") for name in ("normal", "mixed")]
    rows = make_run(method="autoencoder").evaluate(*sources, protocols=("anomaly",))
    assert list(dict.fromkeys((row["encoder"], row["by"]) for row in rows)) == [
        ("trained", "k-NN"), ("trained", "own"), ("untrained", "k-NN"), ("untrained", "own"), ("pixels", "k-NN")
    ]  # fmt: skip
    assert make_run("other").methods() == {}


def test_the_interval_of_few_items_is_shown(make_run, photos_folder, capsys):
    run = make_run()
    rows = run.evaluate(photos_folder, protocols=("knn",))
    low, high = rows[0]["low"], rows[0]["high"]
    print_results(rows)
    said = capsys.readouterr().out
    assert f"({low:.3f} to {high:.3f})" in said
    assert "95 % confidence intervals over items, not over training runs" in said
    page = report.write(run).read_text(encoding="utf-8")
    assert f"{100 * low:.1f} to {100 * high:.1f}" in page
    assert "95 % confidence interval" in page


def test_an_encoder_of_images_sees_the_pictures_of_pairs():
    pairs = data.Joined(videos(1, 1.0), sounds(1.0)).select(range(24))
    encoder = nets.build("convnet", size=32, channels=3)
    rows, expected = (evaluation.evaluate(encoder, part, part, ("knn",)) for part in (pairs, pairs.of("video")))
    assert [row | {"data": ""} for row in rows] == [row | {"data": ""} for row in expected]
    with pytest.raises(UsageError, match="needs an encoder of images and sounds, but this one only takes image"):
        evaluation.evaluate(encoder, pairs, pairs, ("crossmodal",))


def test_a_pair_without_a_label_is_a_class_of_its_own():
    pairs = data.Joined(videos(1, 1.0), sounds(1.0)).select(range(24))
    encoder = nets.build("audiovisual", size=32, channels=3, rate=RATE)
    bare = pairs.with_labels(np.full(24, -1), ("a", "b"))
    rows = evaluation.evaluate(encoder, bare, bare, ("crossmodal",), pixels=False)
    assert [row["direction"] for row in rows] == ["picture to sound", "sound to picture"]
    assert [row["chance_at_1"] for row in rows] == [pytest.approx(1 / 24)] * 2


def test_an_evaluation_that_is_stopped_keeps_what_it_has_measured(make_run, photos_folder, tmp_path, monkeypatch):
    (tmp_path / "patience.py").write_text(
        "import os\n"
        "def measure(task):\n"
        "    if 'IMPATIENT' in os.environ:\n"
        "        raise KeyboardInterrupt\n"
        "    return [{'metric': 'patience', 'value': 1.0}]\n"
    )
    run, protocols = make_run(), ("knn", str(tmp_path / "patience.py"))
    before = run.evaluate(photos_folder, protocols=protocols)
    monkeypatch.setenv("IMPATIENT", "1")
    with pytest.raises(KeyboardInterrupt):
        run.evaluate(photos_folder, protocols=protocols)
    kept = run.results()
    assert sorted(map(str, kept)) == sorted(map(str, before))
    assert kept[-1]["protocol"] == "knn" and kept[-1]["encoder"] == "trained"  # measured again


def test_evaluations_on_other_items_of_the_same_data_are_kept_beside_each_other(make_run, photos_folder):
    run = make_run()
    for fraction in (0.2, 0.5, 0.2):
        run.evaluate(photos_folder, protocols=("knn",), test_fraction=fraction)
    assert [row["n_test"] for row in run.results()] == [40] * 3 + [16] * 3
    assert len(evaluation.by_data(run.results())) == len(compare([run])) == 2


def test_images_of_a_stream_that_cannot_be_read_are_no_items(make_run, photos, tmp_path, monkeypatch):
    for k, crop in enumerate(photos[:40]):
        (place := tmp_path / "photos" / "ab"[k % 2] / f"{k}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(place)
        if k % 4 == 0:
            place.write_bytes(b"no image")
    found, run = [], make_run()
    for limit in ("1KB", "1GB"):
        monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", limit)
        rows = run.evaluate(str(tmp_path / "photos"), protocols=("knn",))
        found.append([(row["encoder"], row["n_train"], row["n_test"], row["value"]) for row in rows])
    assert found[0] == found[1] and sum(found[0][0][1:3]) == 30


def test_two_processes_do_not_evaluate_one_run_at_a_time(make_run, photos_folder):
    run = make_run()
    with holding(run.folder / "evaluation.json"), pytest.raises(WithholdError, match="Another process is writing"):
        run.evaluate(photos_folder, protocols=("knn",))
    assert run.evaluate(photos_folder, protocols=("knn",))


def test_copies_are_not_torn_apart_by_a_split(make_run, tmp_path):
    """Noise with random labels, each item three times, can only be guessed."""
    rng = np.random.default_rng(0)
    images, labels = (np.repeat(part, 3, axis=0) for part in (rng.integers(0, 256, (100, 32, 32, 3), np.uint8),
                                                              rng.integers(0, 2, 100)))  # fmt: skip
    np.savez(tmp_path / "copies.npz", images=images, labels=labels)
    rows = make_run().evaluate(str(tmp_path / "copies.npz"), protocols=("knn",))
    assert all(0.2 < row["value"] < 0.8 for row in rows)


def test_items_that_are_learned_from_are_not_measured_on(make_run, photos, tmp_path, caplog):
    """Whatever they are called, where both are given."""
    for name, part in (("a", photos[:40]), ("b", photos[20:60])):
        np.savez(tmp_path / f"{name}.npz", images=part, labels=np.arange(40) % 2)
    run = make_run()
    rows = run.evaluate(str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), protocols=("knn",))
    assert {row["n_test"] for row in rows} == {20}
    assert "20 items left out of the test set: also in the training data" in caplog.text
    np.savez(tmp_path / "parts.npz", x_train=photos[:40], y_train=np.arange(40) % 2, x_test=photos[20:60],
             y_test=np.arange(40) % 2)  # fmt: skip
    assert {row["n_test"] for row in run.evaluate(str(tmp_path / "parts.npz"), protocols=("knn",))} == {20}
    with pytest.raises(UsageError, match=r"All items of .*a\.npz are also in the training data .*a\.npz"):
        run.evaluate(str(tmp_path / "a.npz"), str(tmp_path / "a.npz"), protocols=("knn",))
