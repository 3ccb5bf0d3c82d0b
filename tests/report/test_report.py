"""The report: complete, self-contained, and written even if parts of a run are missing."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from withhold import methods
from withhold.data import Samples
from withhold.report import charts, embedding, report

RESULTS = [
    {"encoder": encoder, "protocol": "knn", "metric": "accuracy", "value": value}
    | {"data": "digits", "n_train": 80, "n_test": 20}
    for encoder, value in [("trained", 0.75), ("untrained", 0.5), ("supervised", 0.9), ("pixels", 0.25)]
] + [
    {"encoder": "trained", "protocol": "lowshot", "metric": "accuracy", "value": 0.4, "deviation": 0.031, "shots": 5}
    | {"data": "digits", "n_train": 15, "n_test": 20}
]


class Page(HTMLParser):
    """A page's text, tags and addresses; fails on a tag that is closed and was not opened."""

    VOID = {"meta", "img", "br"}

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open, self.words, self.addresses, self.images = [], [], [], 0
        self.feed(self.source)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.images += tag == "img"
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open:
            self.words.append(text)


def test_the_report_says_all_there_is_to_say(make_run, make_samples):
    run = make_run(results=RESULTS, classes=["a", "b", "c"])
    (run.folder / "skipped.csv").write_text('stream,item,reason\nimages,"a\nb.png",broken\nimages,c.png,empty\n')
    path = report.write(run, make_samples())
    assert path == run.folder / "report.html"
    page = Page(path)
    for said in [
        "Rotation", "Withholds which way is up", "Gidaris", "75.0%", "on digits, randomly initialised: 50.0%",
        "20 test items of digits", "trivial baseline: 1.386",
        "No problems found", "Randomly initialised encoder", "Raw pixels", "Supervised network", "5 labels per class",
        "±3.1", "k-NN accuracy", "Effective rank", "Spread", "Items per second", "seen", "said", "true",
        "12 items: nearby items", "2 items", "withhold train rotation digits", "--epochs 2", "--seed 3",
    ]:  # fmt: skip
        assert said in page.text, said
    assert "skipped.csv" in page.addresses
    assert page.source.count('role="img"') == 6  # five quantities and the map
    assert page.images == 8 + 6 * 9  # eight samples, and six rows of a query and its neighbours


@pytest.mark.parametrize("pretrained", [True, False])
def test_what_a_training_began_with_stands_beside_its_numbers(make_run, pretrained):
    encoder = {"name": "convnet", "size": 32, "channels": 1, "pretrained": pretrained}
    results = [*RESULTS, {**RESULTS[0], "encoder": "start", "value": 0.625}]
    lineage = [] if pretrained else [{"method": "simclr", "data": ["digits"], "digest": ""}]
    page = Page(report.write(make_run(results=results, encoder=encoder, finished=False, lineage=lineage)))
    name = "pretrained weights" if pretrained else "start"
    assert f"on digits, randomly initialised: 50.0%, {name}: 62.5%" in page.text
    assert f"{name.capitalize()}, frozen" in page.text


def test_each_data_set_has_a_table_of_its_own(make_run):
    other = {**RESULTS[0], "data": "photos", "value": 0.125, "n_test": 7}
    page = Page(report.write(make_run(results=[*RESULTS, other])))
    assert page.source.count('aria-label="Evaluation"') == 2
    assert "7 test items of photos" in page.text
    assert "on photos" in page.text  # the headline is of the last one


def test_one_of_anything_is_no_plural(make_run):
    page = Page(report.write(make_run(results=[{**RESULTS[0], "n_train": 1, "n_test": 1}], training={"batch_size": 1})))
    assert "Accuracy in percent on 1 test item of digits, with 1 training item." in page.text
    assert "Batch 1 item " in page.text


def test_the_report_needs_nothing_else(make_run, make_samples):
    page = Page(report.write(make_run(results=RESULTS), make_samples()))
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert not re.search(r"<script|<link|@import|url\((?!#)", page.source)


def test_every_colour_of_a_drawing_follows_the_page(make_run, make_samples):
    page = Page(report.write(make_run(), make_samples()))
    drawings = "".join(re.findall(r"<svg role.*?</svg>", page.source, flags=re.DOTALL))
    assert not re.findall(r"#[0-9a-f]{6}[;\"]", drawings)
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", page.source))
    dark = page.source[page.source.index("prefers-color-scheme: dark") :]
    assert len(used) > 8
    for name in used - {"--share"}:
        assert page.source.count(f"{name}:") == 2, name  # once for the light page, once for the dark one
        assert f"{name}:" in dark


@pytest.mark.parametrize("count", [0, 1, 2, 3, 60])
@pytest.mark.parametrize("labels", ["three", None])
def test_any_number_of_samples_will_do(make_run, make_samples, count, labels):
    full = make_samples(max(count, 1), labels=labels)
    page = Page(report.write(make_run(), full.select(np.arange(count))))
    assert ("nearby items" in page.text) == (count > 2)
    assert ("colours are labels" in page.text) == (count > 2 and labels is not None)
    assert (page.images > 0) == (count > 0)


def test_a_run_that_has_just_begun_has_a_report(make_run, make_samples):
    page = Page(report.write(make_run(rows=[], finished=False), make_samples()))
    assert "Not evaluated yet" in page.text
    assert "The training is not finished" in page.text
    assert "Training curves" not in page.text
    assert page.images == 0


def test_a_run_that_is_under_way_shows_its_curves(make_run):
    page = Page(report.write(make_run(finished=False)))
    assert "Training curves" in page.text
    assert "20 steps" in page.text


def test_colour_images_and_methods_of_several_kinds(make_run, make_samples):
    for method in ("simclr", "denoising_autoencoder"):
        page = Page(report.write(make_run(method, method=method, channels=3), make_samples(40, channels=3)))
        assert page.images >= 6 * 9 + 8


def test_a_game_shows_each_player_s_loss_and_gaps_where_it_was_not_finite(make_run):
    rows = [
        {"step": step, "epoch": 1, "seconds": 2, "generator/loss": 0.5, "critic/loss": math.nan if step == 2 else 0.7}
        for step in range(1, 5)
    ]
    drawn = report.curves(rows)
    assert [curve["name"] for curve in drawn] == ["Generator: loss", "Critic: loss"]
    assert "nan" not in drawn[1]["svg"]
    assert "Generator: loss" in Page(report.write(make_run(rows=rows, finished=False))).text


def test_names_are_shown_as_they_are_and_never_run(make_run, make_samples):
    wild = "<script>alert('ü')</script> & \"日本\".png"
    plain = make_samples()
    samples = Samples(plain.array, np.array([wild] * len(plain)), labels=plain.labels, classes=(wild, "b", "c"))
    run = make_run(data=[wild], method=wild, finished=False)
    run.cls = methods.find("rotation")  # as of a file with such a name
    assert Page(report.write(run)).text.count(wild) > 1
    page = Page(report.write(make_run("other", data=[wild]), samples))
    assert "<script" not in page.source
    assert wild in page.text
    samples = Samples(plain.array, np.array(["caf\udce9.png"] * len(plain)))
    assert "caf\\udce9.png" in Page(report.write(make_run("third"), samples)).text


def test_the_demo_shows_its_runs_beside_the_controls(make_run, make_samples, tmp_path):
    runs = [make_run("one"), make_run("two", method="simclr")]
    results = [{**RESULTS[0], "method": "rotation"}, {**RESULTS[0], "method": "simclr", "value": 0.8}, RESULTS[1]]
    path = report.write_demo(results, runs, tmp_path / "new" / "report.html", make_samples())
    page = Page(path)
    for said in (
        "2 runs on the same data",
        "Rotation",
        "SimCLR",
        "Randomly initialised encoder",
        "75.0",
        "80.0",
        "50.0",
    ):
        assert said in page.text, said
    assert page.source.count('class="map"') == 2
    assert not list(path.parent.glob("*.partial"))


def test_the_table_marks_the_best_that_saw_no_labels():
    (made,) = report.tables([{**RESULTS[0], "method": "simclr"}, *RESULTS[1:]])
    assert made["best"] == {"knn": 0.75, "lowshot 5/class": 0.4}
    assert [line["name"] for line in made["lines"]] == [
        "SimCLR", "Randomly initialised encoder", "Supervised network", "Raw pixels", "Trained encoder"
    ]  # fmt: skip
    assert (made["n_train"], made["n_test"]) == (80, 20)
    assert report.tables([]) == []


def test_of_errors_the_least_is_marked():
    errors = [{**row, "protocol": "keypoints", "metric": "error"} for row in (RESULTS[0], RESULTS[1])]
    (made,) = report.tables(errors)
    assert [*made["best"].values()] == [min(row["value"] for row in errors)]


def test_episodes_and_draws_of_as_many_labels_have_columns_of_their_own():
    (made,) = report.tables([RESULTS[-1], {**RESULTS[-1], "protocol": "episodes"}])
    assert list(made["columns"].values()) == ["5 labels per class", "Episodes, 5 labels per class"]


def test_measures_of_one_protocol_have_columns_of_their_own():
    about = {**RESULTS[0], "protocol": "retrieval", "metric": "mAP", "pooling": "GeM"}
    (made,) = report.tables([{**about, "whitened": False}, {**about, "whitened": True}])
    assert list(made["columns"].values()) == ["Retrieval, mAP, GeM", "Retrieval, mAP, GeM, whitened"]


def test_what_is_no_accuracy_has_a_table_with_a_line_for_each_of_its_means(make_run):
    about = {"protocol": "detection", "data": "digits", "n_train": 80, "n_test": 20}
    means = [
        ("trained", "boxes", 0.5),
        ("trained", "maps", 0.375),
        ("untrained", "maps", 0.25),
        ("places", None, 0.125),
    ]
    found = [
        {**about, "encoder": encoder, "metric": metric, "value": value} | ({"by": by} if by else {})
        for encoder, by, value in means for metric in ("AP", "AP50")
    ]  # fmt: skip
    first, made = report.tables([*RESULTS, *found])
    assert set(first["columns"]) == {"knn", "lowshot 5/class"}
    assert list(made["columns"].values()) == ["Detection, AP", "Detection, AP50"]
    assert [line["name"] for line in made["lines"]] == [
        "Trained encoder, its own boxes", "Trained encoder, head on its frozen maps",
        "Randomly initialised encoder, head on its frozen maps", "places",
    ]  # fmt: skip
    assert all(len(line["cells"]) == 2 for line in made["lines"])
    page = Page(report.write(make_run(results=found)))
    assert (
        "Results in percent on 20 test items of digits, with 80 training items. The same head is trained on"
        in page.text
    )
    assert "Accuracy in percent" not in page.text


def test_the_command_repeats_the_run(make_run):
    run = make_run(
        data=["/my photos", "Samples of 12"], parameters={"queue": 64}, rows=[], finished=False,
        training={"steps": None, "epochs": None, "minutes": 2.5, "seed": 1, "lr": 0.01, "accumulate": 2},
    )  # fmt: skip
    assert report.command(run) == (
        "withhold train rotation '/my photos' DATA queue=64 --encoder convnet --size 32 --batch-size 16 --minutes 2.5 "
        "--lr 0.01 --accumulate 2 --seed 1"
    )


def test_windows_of_other_kinds_of_data_are_no_parameters_of_a_run(make_run):
    parameters = {"probe": True, "frames": 16, "fps": 15.0, "seconds": 1.0, "tokens": 128, "tokenizer": "words:20000"}
    run = make_run(method="finetune", parameters=parameters, classes=["a", "b"], finished=False)
    assert report.facts(run)["Parameters"] == "probe True"
    assert "digits probe=True --encoder" in report.command(run)
    sounds = make_run("sounds", method="finetune", parameters=parameters, classes=["a", "b"], finished=False,
                      decoding={"seconds": 1.0, "rate": 8000, "kinds": {"labelled": "audio"}})  # fmt: skip
    assert report.facts(sounds)["Parameters"] == "probe True, seconds 1.0"


def test_neighbours_are_those_of_a_loop():
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    cosines, nearest = embedding.neighbours(features, torch.tensor([3, 7]), 4)
    for row, query in enumerate((3, 7)):
        others = [
            (torch.cosine_similarity(features[query], features[i], dim=0).item(), i) for i in range(20) if i != query
        ]
        best = sorted(others, reverse=True)[:4]
        assert nearest[row].tolist() == [index for _, index in best]
        assert cosines[row].tolist() == pytest.approx([value for value, _ in best], abs=1e-6)


def test_few_items_are_placed_by_their_principal_components():
    from sklearn.decomposition import PCA

    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(features.double(), dim=1).numpy()
    expected = PCA(2, svd_solver="full").fit_transform(unit)
    assert np.abs(embedding.project(features)) == pytest.approx(np.abs(expected), abs=1e-6)


def test_the_map_keeps_groups_apart_and_survives_a_collapse():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    features = torch.eye(3)[labels].repeat(1, 4) + 0.05 * torch.randn(90, 12, generator=rng)
    places = embedding.project(features)
    nearest = torch.cdist(torch.tensor(places), torch.tensor(places)).fill_diagonal_(torch.inf).argmin(1)
    assert (labels[nearest] == labels).float().mean() > 0.95
    assert (embedding.project(torch.ones(60, 4)) == 0).all()
    assert embedding.project(torch.randn(5, 1)).shape == (5, 2)


def test_a_drawing_is_the_same_each_time_and_escapes_its_words():
    assert "$_$" in charts.links(["b$_$"], ["c"], [("b$_$", "c", 1.0)], about="columns")
    drawn = [charts.line(([1, 2], [0.5, 0.4]), None, until=2, about='"<&') for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert 'aria-label="&#34;&lt;&amp;"' in drawn[0]
