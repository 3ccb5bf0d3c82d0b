"""Streams from files on disk to a batch: several domains, masks, boxes, poses, columns and texts."""

import csv
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from withhold import data
from withhold.errors import UsageError, WithholdError
from withhold.methods import Method, method
from withhold.needs import parse
from withhold.orders import Balanced, Episodes
from withhold.runs import build


def declare(streams, order=None, **methods):
    """A method that needs `streams`."""
    made = type("Toy", (Method,), {"order": order or {}, **methods})
    return method(paper="none", needs=streams, family="adapt")(made)


def image(path, grey, size=(32, 32), colour=True):
    """An image of one grey value, made of numbers that JPEG would not keep."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3) if colour else size, grey, np.uint8)).save(path)


def table(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def feed(cls, *sources, batch_size=4, **options):
    """The feeder of a method's streams, from what a person names."""
    _, decoding = build.choose(cls, sources, {}, size=32)
    streams = build.load_streams(cls, sources, decoding)
    return data.Feeder(streams, cls.needs, batch_size, 0, orders=cls.order, **options)


def test_a_stream_of_several_domains_has_one_table_of_classes(tmp_path):
    """As JiGen wants: labelled images of several domains, in which a class has the same number."""
    shades = {}
    for domain, classes in {"photo": ("cat", "dog"), "art": ("ant", "dog")}.items():
        for label in classes:
            for k in range(3):
                shade = 10 + len(shades)
                shades[shade] = (label, domain, f"{domain}/{label}/{k}.png")
                image(tmp_path / shades[shade][2], shade)
    for k in range(4):
        image(tmp_path / "new" / f"{k}.png", 200)
    toy = declare({"target": "image", "images": "image + label + domain"})
    sources = [str(tmp_path / name) for name in ("new", "photo", "art")]
    feeder = feed(toy, *sources, batch_size=12)
    images, labels, domains = feeder.batch(0)["images"]
    samples = feeder.streams["images"]
    assert labels.dtype == domains.dtype == torch.int64
    for shade, label, domain in zip(images[:, 0, 0, 0].tolist(), labels, domains, strict=True):
        assert (samples.classes[label], ("photo", "art")[domain]) == shades[shade][:2]
    assert set(samples.names) == {str(tmp_path / name) for *_, name in shades.values()}
    assert (feeder.batch(0)["target"] == 200).all()
    with pytest.raises(UsageError, match=r"but 1 source given. Give one source with --labels"):
        build.choose(toy, sources[:1], {})
    twice = declare({"a": "image + domain", "b": "image + domain"})
    with pytest.raises(UsageError, match=r"needs several sources for a and b, but only one stream can take several"):
        build.deal(twice, sources)


def test_a_number_is_one_class_in_all_domains(tmp_path):
    for k in range(4):
        image(tmp_path / f"{k}.png", k)
    given = [
        table(tmp_path / f"{name}.csv", [{"image": f"{k}.png", "label": v, "kind": v} for k, v in enumerate(values)])
        for name, values in {"gaps": ("1.0", "2.0", "", "2.0"), "whole": ("2", "1", "1", "odd")}.items()
    ]
    samples = data.load(data.Several(given), size=32, parts=("label", "domain", "targets"))
    assert samples.labels.tolist() == samples.targets["kind"].values.tolist() == [0, 1, -1, 1, 1, 0, 0, 2]
    assert [name.removesuffix(".0") for name in samples.classes] == ["1", "2", "odd"]


def test_what_has_no_label_in_a_domain_has_none_among_several(hub_cache, tmp_path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])})
    first, second = (
        datasets.Dataset.from_dict({"text": ["red house " * 2] * 4, "label": labels}, features=features)
        for labels in ([0, 1, -1, 0], [1, 1, None, 0])
    )
    (tmp_path / "tokens").mkdir()
    decoding = {"tokenizer": "words", "tokens": 4}
    build.make_tokenizer(declare({"texts": "text"}), [first], {}, decoding, tmp_path / "tokens")
    samples = data.load(data.Several([first, second]), "text", **decoding)
    assert samples.classes == ("cat", "dog")
    assert samples.labels.tolist() == [0, 1, -1, 0, 1, 1, -1, 0]


def test_two_labelled_streams_share_their_classes(tmp_path):
    for name in ("A/cat/1", "A/dog/1", "B/ant/1", "B/dog/1"):
        image(tmp_path / f"{name}.png", 10)
    toy = declare({"first": "image + label", "second": "image + label"})
    streams = build.load_streams(toy, [str(tmp_path / "A"), str(tmp_path / "B")], {"size": 32, "channels": 1})
    assert build.tell(toy, streams, {})["classes"] == list(streams["second"].classes)
    named = {s: [streams[s].classes[label] for label in streams[s].labels] for s in streams}
    assert named == {"first": ["cat", "dog"], "second": ["ant", "dog"]}
    assert streams["first"].labels[1] == streams["second"].labels[1]


def test_ready_samples_of_different_shapes_are_named():
    rng = np.random.default_rng(0)
    small, large = (data.load(rng.integers(0, 256, (4, side, side), np.uint8), size=side) for side in (16, 24))
    toy = declare({"first": "image", "second": "image"})
    assert build.load_streams(toy, [small, small], {"size": 16, "channels": 1})
    with pytest.raises(UsageError, match=r"needs images of one shape, not <4 of image 16x16x1 .* the same size and"):
        build.load_streams(toy, [small, large], {"size": 16, "channels": 1})


def test_masks_lie_beside_images_and_are_cut_as_they_are(tmp_path):
    """As ADVENT wants: source images with masks, target images without."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 5, (4, 4, 8)).astype(np.uint8)
    for k, block in enumerate(blocks):
        pixels = np.kron(block, np.ones((16, 16), np.uint8))  # 64 x 128, of which the middle square stays
        (tmp_path / "source" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels * 50).save(tmp_path / "source" / "images" / f"{k}.png")
        mask = Image.fromarray(pixels[::2, ::2])  # of another size, with a palette
        mask.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 1, 2, 3])
        mask.save(tmp_path / "source" / "masks" / f"{k}.png")
        image(tmp_path / "target" / f"{k}.png", 7)
    image(tmp_path / "source" / "images" / "alone.png", 3)
    toy = declare({"source": "image + mask", "target": "image"})
    feeder = feed(toy, str(tmp_path / "source"), str(tmp_path / "target"))
    images, masks = feeder.batch(0)["source"]
    assert (masks.dtype, masks.shape) == (torch.uint8, (4, 32, 32))
    assert torch.equal((images[:, 0] / 50).round(), masks.float())  # as sharp as Lanczos leaves it
    expected = {np.kron(block[:, 2:6], np.ones((8, 8), np.uint8)).tobytes() for block in blocks}
    assert {mask.numpy().tobytes() for mask in masks} == expected
    assert feeder.streams["source"].skipped == [("masks/alone.png", "missing file")]
    part = feeder.streams["source"].select([2, 0])
    assert torch.equal(part.parts["mask"].batch([0]).float(), (part.batch([0]) / 50).round())
    with pytest.raises(UsageError, match=r"target has no masks\. Give a folder with images/NAME.jpg and masks/N"):
        feed(toy, str(tmp_path / "target"), str(tmp_path / "target"))


@pytest.mark.parametrize("form", ["bytes", "struct", "dataset", "paths"])
def test_masks_may_be_encoded_in_a_table(tmp_path, hub_cache, form):
    import datasets

    encoded = {sort: [] for sort in ("image", "mask")}
    for k in range(4):
        for sort in encoded:
            image(tmp_path / f"{sort}{k}.png", k, colour=sort == "image")
            content = (tmp_path / f"{sort}{k}.png").read_bytes()
            forms = {"bytes": content, "paths": f"{sort}{k}.png"}
            encoded[sort].append(forms.get(form, {"bytes": content, "path": None}))
    features = datasets.Features(dict.fromkeys(encoded, datasets.Image())) if form in ("struct", "dataset") else None
    source = datasets.Dataset.from_dict(encoded, features=features)
    if form != "dataset":
        source.to_parquet(tmp_path / "t.parquet")
        source = tmp_path / "t.parquet"
    for given in (source, data.Several([source, source])):
        samples = data.load(given, size=32, parts=("mask",))
        found = [samples.parts["mask"].batch([k]).unique().tolist() for k in range(len(samples))]
        assert found == [[k % 4] for k in range(len(samples))]


def test_masks_are_no_images_to_learn_from(tmp_path, caplog):
    for k in range(4):
        for sort in ("Images", "Masks"):
            (tmp_path / "outer" / "inner" / sort).mkdir(parents=True, exist_ok=True)
            image(tmp_path / "outer" / "inner" / sort / f"{k}.png", k)
    archive = shutil.make_archive(str(tmp_path / "inner"), "zip", tmp_path / "outer" / "inner")
    for source in (tmp_path / "outer", archive):
        samples = data.load(source, size=32)
        assert len(samples) == 4 and all("Images/" in name for name in samples.names)
        assert samples.labels is None or len(samples.classes) < 2
        assert "masks are read only from a folder that directly contains images and masks" in caplog.text
        caplog.clear()


def test_ids_with_underscores_are_no_numbers(tmp_path):
    for k in range(30):
        image(tmp_path / f"{k}.png", k)
    source = table(tmp_path / "t.csv", [{"image": f"{k}.png", "scan": f"1_{k % 25}"} for k in range(30)])
    scan = data.load(source, size=32, parts=("targets",)).targets["scan"]
    assert scan.classes is not None and len(scan.classes) == 25


def test_a_mask_is_a_column_too_and_a_coloured_one_is_left_out(tmp_path):
    for k in range(3):
        image(tmp_path / f"{k}.png", 100 + k)
        image(tmp_path / f"mask{k}.png", k, colour=k == 2)
    source = table(tmp_path / "t.csv", [{"image": f"{k}.png", "mask": f"mask{k}.png"} for k in range(3)])
    samples = data.load(source, size=32, parts=("mask",))
    assert samples.names == ["0.png", "1.png"]
    assert [samples.parts["mask"].batch([k]).unique().tolist() for k in range(2)] == [[0], [1]]
    assert samples.skipped == [("mask2.png", "in colour (RGB), but a mask needs numbers; save it as grey")]


def masked(folder, masks, size=(32, 32), classes=None):
    """A folder with an image for every mask, int [h, w], and a file of classes."""
    for number, mask in enumerate(masks):
        image(folder / "images" / f"{number}.png", number, size)
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.asarray(mask, np.uint8)).save(folder / "masks" / f"{number}.png")
    if classes:
        (folder / "classes.txt").write_text("\n".join(classes))
    return folder


def load_masked(folder, **options):
    return data.load(folder, size=32, channels=3, parts=("mask",), **options)


def test_the_numbers_of_masks_are_named_and_what_nobody_knows_is_ignored(tmp_path, caplog):
    mask = np.arange(32).repeat(32).reshape(32, 32) // 8
    mask[0, 0] = 255
    found = load_masked(masked(tmp_path, [mask], classes=["road", "void", "sky", "car"])).parts["mask"]
    assert found.classes == ("road", "sky", "car")
    expected = np.array([0, 255, 1, 2])[np.arange(32) // 8].repeat(32).reshape(32, 32)
    expected[0, 0] = 255
    assert np.array_equal(found.array[0, ..., 0], expected)
    (tmp_path / "classes.txt").unlink()
    caplog.set_level(logging.INFO)
    assert load_masked(tmp_path).parts["mask"].classes == ("0", "1", "2", "3")
    assert "no classes.txt found; classes of the masks are named by their numbers" in caplog.text


def test_masks_of_a_stream_have_the_classes_of_those_that_are_decoded_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1KB")
    folder = masked(tmp_path, [np.full((32, 32), number) for number in (0, 3, 1)])
    found = [load_masked(folder, whole=whole).parts["mask"] for whole in (False, True)]
    assert not isinstance(found[0].values, np.ndarray)
    assert found[0].classes == found[1].classes == ("0", "1", "2", "3")


def test_masks_of_another_size_are_scaled_and_that_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    samples = load_masked(masked(tmp_path, [np.zeros((16, 16)), np.zeros((32, 32))]))
    assert len(samples) == 2
    assert "1 mask of another size than the image, such as 0.png (32 x 32, mask 16 x 16)" in caplog.text


def test_masks_follow_their_images_into_the_parts_of_a_set(tmp_path):
    for place, part in enumerate(("train", "test")):
        image(tmp_path / "images" / part / "a.png", 40 * place)
        image(tmp_path / "masks" / part / "a.png", 3 + place, colour=False)
    for place, part in enumerate(("train", "test")):
        samples = load_masked(f"{tmp_path}::{part}")
        assert (samples.array[0, 0, 0, 0], samples.parts["mask"].array[0, 0, 0, 0]) == (40 * place, 3 + place)


def test_masks_that_do_not_go_with_their_images_are_named(tmp_path, caplog):
    halves = np.zeros((32, 32), int)
    halves[:16] = 1
    folder = masked(tmp_path, [halves, halves, halves + 7], classes=["road", "sky", "car"])
    image(folder / "masks" / "stray.png", 0, colour=False)
    image(folder / "images" / "bare.png", 0)
    caplog.set_level(logging.WARNING)
    assert load_masked(folder).names == ["0.png", "1.png"]
    assert "left out: 1 (masks without an image, such as masks/stray.png)" in caplog.text
    assert "2 left out, such as masks/2.png (it has the number 8, but only 3 classes are named" in caplog.text
    assert "no mask has a pixel of 'car'" in caplog.text
    Image.fromarray(np.zeros((32, 20), np.uint8)).save(folder / "masks" / "1.png")
    samples = load_masked(folder)
    assert (samples.names, len(samples.parts["mask"])) == (["0.png"], 1)
    reason = "it has 32 x 32 pixels, but its mask 20 x 32; give both the same aspect ratio"
    assert ("1.png", reason) in samples.skipped
    assert f"1 left out, such as 1.png ({reason})" in caplog.text
    for name in ("2.png", "stray.png"):
        (folder / "masks" / name).unlink()
    for name in ("2.png", "bare.png"):
        (folder / "images" / name).unlink()
    with pytest.raises(WithholdError, match=r"1\.png in .* cannot be used: it has 32 x 32 pixels, but its"):
        load_masked(folder, strict=True)
    (folder / "classes.txt").write_text("road\nroad")
    with pytest.raises(UsageError, match=r"classes\.txt names the class 'road' twice"):
        load_masked(folder)


def test_a_mask_that_was_saved_as_jpeg_is_left_out(tmp_path):
    folder = masked(tmp_path, [np.zeros((32, 32))] * 2)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "masks" / "1.jpg")
    (folder / "masks" / "1.png").unlink()
    samples = load_masked(folder)
    assert samples.names == ["0.png"]
    assert samples.skipped == [("masks/1.jpg", "saved as JPEG, which changes a mask's numbers; save it as PNG")]


@pytest.mark.parametrize("masks", [True, False])
def test_a_folder_of_images_is_split_with_and_without_masks(tmp_path, masks):
    for part in ("train", "test"):
        image(tmp_path / "images" / part / f"{part}.png", 7)
        if masks:
            image(tmp_path / "masks" / part / f"{part}.png", 1, colour=False)
    assert data.splits(tmp_path) == {part: f"{tmp_path}::{part}" for part in ("train", "test")}
    assert data.load(tmp_path, size=32).names == ["train.png"]
    assert data.load(f"{tmp_path}::test", size=32).names == ["test.png"]


def test_boxes_are_in_pixels_of_the_decoded_image(tmp_path):
    image(tmp_path / "wide.png", 1, size=(64, 128))
    image(tmp_path / "high.png", 2, size=(96, 48))
    boxes = [[[32, 0, 96, 64], [0, 0, 40, 20], [0, 0, 30, 10]], []]
    rows = [{"image": n, "boxes": json.dumps(b)} for n, b in zip(("wide.png", "high.png"), boxes, strict=True)]
    samples = data.load(table(tmp_path / "t.csv", rows), size=32, parts=("boxes",))
    (found,) = samples.beside(parse("image + boxes"), np.array([0, 1]))
    assert (found.dtype, found.shape) == (torch.float32, (2, 2, 6))
    assert found[0].tolist() == [[0, 0, 32, 32, 0, 0], [0, 0, 4, 10, 0, 1]]  # halved; the third is cut away
    assert found[1].isnan().all()


def test_points_are_in_pixels_of_the_decoded_image(tmp_path):
    image(tmp_path / "wide.png", 1, size=(64, 128))
    image(tmp_path / "high.png", 2, size=(96, 48))
    points = [[[32, 0], [96, 64], [64, 16]], [[24, 48], None, [0, 24]]]
    points[1][1] = [None, None]
    rows = [{"image": n, "points": json.dumps(p)} for n, p in zip(("wide.png", "high.png"), points, strict=True)]
    samples = data.load(table(tmp_path / "t.csv", rows), size=32, parts=("points",))
    (found,) = samples.beside(parse("image + points"), np.array([0, 1]))
    assert (found.dtype, found.shape) == (torch.float32, (2, 3, 2))
    assert found[0].tolist() == [[0, 0], [32, 32], [16, 8]]
    assert found[1, ::2].tolist() == [[16, 16], [0, 0]]
    assert found[1, 1].isnan().all()
    rows[0]["points"] = "[1, 2, 3]"
    with pytest.raises(WithholdError, match="points that are not a JSON list of numbers"):
        data.load(table(tmp_path / "t.csv", rows), size=32, parts=("points",))
    rows[0]["points"] = "[[1, 2]]"
    with pytest.raises(
        WithholdError, match=r"The points in .* have different numbers of values\. Give the same number"
    ):
        data.load(table(tmp_path / "t.csv", rows), size=32, parts=("points",))


def test_poses_and_numbers_come_with_their_images(tmp_path):
    for k in range(8):
        image(tmp_path / f"{k}.png", 10 * k)
    (tmp_path / "3.png").write_text("no")
    rows = [{"image": f"{k}.png", "pose": json.dumps([[k, 0.5], [1, -k]])} for k in range(8)]
    feeder = feed(declare({"images": "image + poses + number"}), table(tmp_path / "t.csv", rows), batch_size=7)
    images, poses, numbers = feeder.batch(0)["images"]
    shades = images[:, 0, 0, 0].tolist()
    assert poses.dtype == torch.float32
    assert poses.tolist() == [[s / 10, 0.5, 1, -s / 10] for s in shades]
    assert feeder.streams["images"].batch(numbers)[:, 0, 0, 0].tolist() == shades
    with pytest.raises(UsageError, match=r"has no boxes\. Give a VOC"):
        feed(declare({"images": "image + boxes"}), str(tmp_path / "t.csv"))


def test_a_column_may_be_missing_in_another_split(tmp_path):
    for k in range(4):
        image(tmp_path / f"{k}.png", k)
    table(tmp_path / "train.csv", [{"path": f"{k}.png", "label": "ab"[k % 2], "kind": "xy"[k % 2]} for k in range(4)])
    table(tmp_path / "test.csv", [{"path": f"{k}.png", "label": "ab"[k % 2]} for k in range(4)])
    samples = data.load(f"{tmp_path}::train", size=32, parts=("label", "targets"))
    assert samples.targets["kind"].classes == ("x", "y")


def test_further_columns_are_classes_or_numbers(tmp_path, caplog):
    rng, rows = np.random.default_rng(0), []
    for k in range(24):
        image(tmp_path / f"{k}.png", k)
        rows.append(
            {"image": f"{k}.png", "label": "ab"[k % 2], "age": 100 + k, "size": "", "few": k % 3, "kind": "xy"[k % 2]}
        )
        rows[-1]["share"] = rng.integers(2) + 0.5
    rows[0] |= {"age": "", "kind": ""}
    source = table(tmp_path / "t.csv", rows)
    feeder = feed(declare({"images": "image + label + targets"}), source, batch_size=24)
    images, labels, targets = feeder.batch(0)["images"]
    held = feeder.streams["images"].targets
    assert {name: column.classes for name, column in held.items() if name != "few"} == {
        "age": None, "share": None, "kind": ("x", "y"), "size": ()
    }  # fmt: skip
    for place, k in enumerate(images[:, 0, 0, 0].tolist()):
        assert labels[place] == k % 2
        assert held["few"].classes[targets["few"][place]] == str(k % 3)
        assert targets["age"][place] == 100 + k if k else targets["age"][place].isnan()
        assert targets["kind"][place] == (k % 2 if k else -1)
    assert (targets["size"] == -1).all()
    assert targets["age"].dtype == torch.float32
    rows[5]["age"] = 5
    changed = data.load(table(tmp_path / "t2.csv", rows), parts=["label", "targets"], size=32)
    assert changed.fingerprint != data.load(source, parts=["label", "targets"], size=32).fingerprint
    with caplog.at_level(logging.INFO):
        feed(declare({"images": "image"}), source)
        assert "nothing is learned" not in caplog.text
        feed(declare({"images": "image + label"}), source)
    assert "also has age, size, few, kind, share, which this method does not use" in caplog.text


@pytest.fixture
def sentences(tmp_path):
    """A table of German and English sentences, that are as long as their number says."""
    words = {"text": ["eins", "zwei", "drei", "vier"], "translation": ["one", "two", "three", "four"]}
    rows = [{c: " ".join(w[(k + i) % 4] for i in range(3 + k % 5)) for c, w in words.items()} for k in range(40)]
    return table(tmp_path / "pairs.csv", rows)


def test_two_texts_of_a_row_stay_together_and_share_a_tokenizer(sentences, tmp_path):
    toy = declare({"texts": "text + text"})
    decoding = {"tokenizer": "words", "tokens": 4}
    build.make_tokenizer(toy, [sentences], {}, decoding, tmp_path)
    streams = build.load_streams(toy, [sentences], decoding)
    first, second = data.Feeder(streams, toy.needs, 40, 0).batch(0)["texts"]
    assert first.shape == second.shape == (40, 4)
    coder = data.load_tokenizer(decoding["tokenizer"])
    pairs = dict(zip(["eins", "zwei", "drei", "vier"], ["one", "two", "three", "four"], strict=True))
    for german, english in zip(first.tolist(), second.tolist(), strict=True):
        said = [[coder.id_to_token(token) for token in row if token] for row in (german, english)]
        assert [pairs[word] for word in said[0]] == said[1]
        assert len(said[0]) >= 3  # from the beginning on
    with pytest.raises(UsageError, match=r"has no column of second texts\. Name it translation, target, summary"):
        build.load_streams(toy, [table(tmp_path / "one.csv", [{"text": "one"}])], decoding)


def test_the_tokenizer_learns_from_all_streams(tmp_path):
    for name, word in {"a": "red", "b": "blue"}.items():
        (tmp_path / f"{name}.txt").write_text("\n\n".join(f"the {word} house {k % 2}" for k in range(8)))
    toy = declare({"labelled": "text", "unlabelled": "text"})
    decoding = {"tokenizer": "words", "tokens": 4}
    build.make_tokenizer(toy, [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], {}, decoding, tmp_path)
    vocabulary = data.load_tokenizer(decoding["tokenizer"]).get_vocab()
    assert {"red", "blue"} <= set(vocabulary)


def test_the_data_decide_between_kinds(tmp_path, sentences):
    toy = declare({"items": "image | audio | text + number"})
    image(tmp_path / "pictures" / "1.png", 1)
    found = {}
    for source in (str(tmp_path / "pictures"), sentences):
        encoder, decoding = build.choose(toy, [source], {"tokenizer": "words", "tokens": 8})
        found[build.kinds(toy, decoding)["items"]] = (encoder["name"], decoding)
    assert found["text"] == ("word-vectors", {"kinds": {"items": "text"}, "tokenizer": "words", "tokens": 8})
    assert found["image"][1] == {"kinds": {"items": "image"}, "size": 32, "channels": 1}
    (tmp_path / "nothing").mkdir()
    with pytest.raises(WithholdError, match=r"nothing is empty\. Give a folder with images"):
        build.choose(toy, [str(tmp_path / "nothing")], {})


def labelled(count, classes):
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 32, 32, 1)).copy()
    return data.load((pixels, np.arange(count) % classes))


def test_five_way_episodes_are_ordered_by_class(tmp_path):
    for k in range(70):
        image(tmp_path / "few" / f"c{k % 7}" / f"{k}.png", k)
    toy = declare({"images": "image + label"}, {"images": Episodes(ways=5, shots=1, queries=2)})
    feeder = feed(toy, str(tmp_path / "few"), batch_size=30)
    seen = set()
    for batch in feeder.iterate(0, 6):
        images, labels = batch["images"]
        assert (images[:, 0, 0, 0] % 7 == labels).all()
        for episode in labels.view(2, 5, 3):
            assert (episode == episode[:, :1]).all()
            assert len(episode[:, 0].unique()) == 5
            seen |= {tuple(episode[:, 0].tolist())}
        for drawn in images[:, 0, 0, 0].view(10, 3):
            assert len(drawn.unique()) == 3
    assert len(seen) > 8
    ranks = [feed(toy, str(tmp_path / "few"), batch_size=15, rank=rank, world=2) for rank in range(2)]
    for step in range(4):
        parts = [rank.batch(step)["images"][1] for rank in ranks]
        assert all(len(part.view(5, 3)[:, 0].unique()) == 5 for part in parts)
    with pytest.raises(UsageError, match="A batch of 16 items cannot hold whole episodes of 5 classes with 3 items"):
        feed(toy, str(tmp_path / "few"), batch_size=16)
    with pytest.raises(UsageError, match="Episodes need 9 classes with at least 3 items, but there are 7"):
        feed(declare({"images": "image + label"}, {"images": Episodes(9, 1, 2)}), str(tmp_path / "few"))


def test_short_streams_go_on_in_whole_episodes():
    needs = {"images": parse("image"), "few": parse("image + label")}
    feeder = data.Feeder(
        {"images": labelled(80, 1), "few": labelled(23, 3)}, needs, 8, 0, orders={"few": Episodes(2, 1, 3)}
    )
    for step in range(20):
        labels = feeder.batch(step)["few"][1].view(2, 4)
        assert (labels == labels[:, :1]).all()
        assert labels[0, 0] != labels[1, 0]


def test_ordered_streams_are_the_same_for_any_number_of_ranks():
    def batches(**ranks):
        return data.Feeder({"few": labelled(44, 4)}, {"few": parse("image + label")}, 8 // ranks.get("world", 1), 0,
                           orders={"few": Episodes(2, 1, 1)}, **ranks)  # fmt: skip

    for step in range(7):
        whole = batches().indices("few", step).tolist()
        parts = [batches(rank=rank, world=2).indices("few", step) for rank in range(2)]
        assert np.concatenate(parts).tolist() == whole


def test_balanced_batches_have_as_many_of_each_class():
    samples = labelled(64, 2).with_labels(np.array([0] * 50 + [1] * 8 + [2] * 2 + [-1] * 4), ("a", "b", "c"))
    feeder = data.Feeder({"images": samples}, {"images": parse("image + label")}, 12, 0, orders={"images": Balanced()})
    drawn = [feeder.batch(step)["images"] for step in range(5)]
    assert all(labels.bincount().tolist() == [4, 4, 4] for _, labels in drawn)
    assert len(torch.cat([images[:, 0, 0, 0] for images, _ in drawn]).unique()) == 20 + 8 + 2
    with pytest.raises(UsageError, match=r"none of its items has a label\. Give labels"):
        data.Feeder({"images": labelled(8, 2).with_labels(np.full(8, -1), ())}, {"images": parse("image")}, 4, 0,
                    orders={"images": Balanced()})  # fmt: skip


def test_an_order_follows_the_clusters_that_a_method_writes_between_steps():
    clusters = torch.zeros(40, dtype=torch.int64)
    clusters[:4] = 1
    feeder = data.Feeder({"images": labelled(40, 1)}, {"images": parse("image + number")}, 8, 0,
                         orders={"images": Balanced("clusters")}, groups={"clusters": clusters}.get)  # fmt: skip
    for step, (_, numbers) in enumerate(batch["images"] for batch in feeder.iterate(0, 8)):
        assert clusters[numbers].bincount().tolist() == [4, 4], step
        if step == 2:  # in the middle of an epoch
            clusters.copy_((torch.arange(40) >= 38).long())
