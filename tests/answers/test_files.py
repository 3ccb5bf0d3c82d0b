"""The output files of methods, and the additional input files that a method takes."""

import csv
import wave

import av
import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from tests.data.recordings import write_sound
from withhold.answers import apply, write
from withhold.cli import main
from withhold.data.images import decode
from withhold.errors import UsageError, WithholdError
from withhold.methods import answers, find

ANSWERS = {
    "image": answers.Image(torch.tensor([[[0.0, 1.0, 0.5]]])),
    "bytes": answers.Image(torch.tensor([[[1]], [[2]], [[255]]], dtype=torch.uint8)),
    "clip": answers.Clip(torch.arange(6).view(6, 1, 1, 1).expand(6, 1, 17, 18) / 10, fps=12.5),
    "sound": answers.Sound(torch.tensor([0.0, 0.5, -1.0, 2.0]), rate=4000),
    "mask": answers.Mask(torch.tensor([[0, 2, 1]]), [9, 9, 9, 50, 0, 0, 0, 60, 0]),
    "grey": answers.Mask(torch.tensor([[0, 300]])),
    "masks": answers.Mask(torch.tensor([[[0, 1]], [[1, 0]]])),
    "points": answers.Points(["nose", "paw"], torch.tensor([[[1.0, 2.04], [3, 4]], [[5, 6], [7, 8]]])),
    "caption": "Ein Bär.",
    "words": answers.Words([("queen", 0.5), ("king", 0.25)]),
    "mesh": answers.Mesh(torch.tensor([[0.0, 0, 0.5], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]])),
}


@pytest.fixture
def files(tmp_path):
    """What the answers to bears/one.png become, by name."""
    written = write([("bears/one.png", ANSWERS)], tmp_path / "out")
    assert all(path.is_file() for path in written)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == len(written)
    return {path.relative_to(tmp_path / "out" / "bears").as_posix().removeprefix("one-"): path for path in written}


def test_each_value_becomes_the_files_that_people_use(files):
    assert list(files) == [
        "image.png", "bytes.png", "clip.mp4", "clip.webp", "sound.wav", "mask.png", "grey.png", "masks/00000.png",
        "masks/00001.png", "points.csv", "caption.txt", "words.csv", "mesh.obj",
    ]  # fmt: skip


def test_items_of_one_name_keep_their_boxes_and_no_output_leaves_the_folder(tmp_path):
    box = torch.tensor([[1.0, 2, 3, 4]])
    found = [("a.png", {"boxes": answers.Boxes([name], [0.5], box), "x/../../evil": name}) for name in ("one", "two")]
    written = write(found, tmp_path / "out")
    assert {path.parent for path in written} == {tmp_path / "out"}
    with open(tmp_path / "out" / "boxes.csv", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["one", "two"]


def test_images_keep_their_values(files):
    assert np.asarray(Image.open(files["image.png"])).tolist() == [[0, 255, 128]]
    assert np.asarray(Image.open(files["bytes.png"])).tolist() == [[[1, 2, 255]]]


def test_masks_keep_their_labels_and_palette(files):
    with Image.open(files["mask.png"]) as mask:
        assert (mask.mode, mask.getpalette()[:9]) == ("P", [9, 9, 9, 50, 0, 0, 0, 60, 0])
        assert np.asarray(mask).tolist() == [[0, 2, 1]]
    assert np.asarray(Image.open(files["grey.png"])).tolist() == [[0, 300]]
    assert np.asarray(Image.open(files["masks/00001.png"])).tolist() == [[1, 0]]


def test_a_clip_plays_at_its_pace_in_both_forms(files):
    grey = np.arange(6) * 25.5
    with av.open(str(files["clip.mp4"])) as container:
        stream = container.streams.video[0]
        assert (float(stream.average_rate), stream.pix_fmt, stream.height, stream.width) == (12.5, "yuv420p", 16, 18)
        shown = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert np.abs(shown - grey).max() < 20  # of which video keeps 16 at either end
    with Image.open(files["clip.webp"]) as animation:
        assert (animation.n_frames, animation.size, animation.info["loop"]) == (6, (18, 17), 0)
        for number in range(6):
            animation.seek(number)
            assert np.abs(np.asarray(animation.convert("L")) - grey[number]).max() < 5
            assert animation.info["duration"] == 80


def test_sounds_are_wav(files):
    with wave.open(str(files["sound.wav"])) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (4000, 1)
        assert np.frombuffer(sound.readframes(4), "<i2").tolist() == [0, 16384, -32768, 32767]


def test_tables_texts_and_meshes_are_read_as_they_are(files):
    said = {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.suffix in (".csv", ".txt")}
    assert said["points.csv"] == "frame,name,x,y\n0,nose,1.0,2.0\n0,paw,3.0,4.0\n1,nose,5.0,6.0\n1,paw,7.0,8.0\n"
    assert said["words.csv"] == "word,score\nqueen,0.5\nking,0.25\n"
    assert said["caption.txt"] == "Ein Bär."
    assert files["mesh.obj"].read_text() == "v 0 0 0.5\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def test_classes_of_all_items_are_one_table(tmp_path):
    said = [(name, {"class": answers.Class(name[-1], 0.5)}) for name in ("deep/a", "b")]
    (path,) = write(said, tmp_path / "out")
    assert path == tmp_path / "out" / "classes.csv"
    assert path.read_text() == "path,class,probability\ndeep/a,a,0.5\nb,b,0.5\n"


def test_boxes_of_all_items_are_one_table(tmp_path):
    boxes = answers.Boxes(["cat, asleep"], [0.75], torch.tensor([[0.0, 1, 2, 3.26]]))
    nothing = answers.Boxes([], [], torch.zeros(0, 4))
    (path,) = write([("deep/a.png", {"boxes": boxes}), ("b.png", {"boxes": nothing})], tmp_path / "out")
    assert path == tmp_path / "out" / "boxes.csv"
    line = 'deep/a.png,"cat, asleep",0.75,0.0,1.0,2.0,3.3'
    assert path.read_text() == f"path,name,score,left,top,right,bottom\n{line}\n"


def test_items_of_one_name_do_not_overwrite_each_other_nor_leave_the_folder(tmp_path):
    names = ["a.png", "a.jpg", "a.jpg", "../a.png", "/etc/a.png", "a.x/a.png"]
    written = write([(name, {"seen": str(row)}) for row, name in enumerate(names)], tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "a-seen.txt", "a.jpg-seen.txt", "a-2-seen.txt", "a.png-seen.txt", "etc/a-seen.txt", "a.x/a-seen.txt",
    ]  # fmt: skip
    assert [path.read_text() for path in written] == list("012345")


def test_answers_become_a_new_folder_or_none(tmp_path):
    def answered():
        yield "a", {"seen": "one"}
        raise WithholdError("The next one is torn.")

    with pytest.raises(WithholdError, match="torn"):
        write(answered(), tmp_path / "new" / "out")
    assert not list(tmp_path.iterdir())
    (written,) = write([("a", {"seen": "one"})], tmp_path / "out")
    with pytest.raises(UsageError, match=r"out already exists\. Choose another --out, or delete it\."):
        write([("a", {"seen": "two"})], tmp_path / "out")
    assert written.read_text() == "one"


def test_a_run_that_was_applied_can_still_be_trained(make_run, photos):
    image = torch.from_numpy(photos[0]).permute(2, 0, 1)
    for name in ("autoencoder", "context_encoder", "colorization"):
        channels = find(name).channels or 3
        run = make_run(name, method=name, channels=channels, decoding={"size": 32, "channels": 3})
        run.apply(image)
        method = run.method.train()
        method({"images": torch.stack([image, image])})["loss"].backward()
        assert all(p.grad is not None for p in method.encoder.parameters())


STYLED = '''
from withhold.methods import ImageEncoder, Method, answers, method


@method(paper="Nobody, 2026", needs={"images": "image"}, family="reconstruct")
class Styled(Method):
    """Withholds nothing.

    Args:
        size: of nothing.
    """

    def __init__(self, encoder: ImageEncoder, size: int = 1):
        super().__init__(encoder)

    def apply_to(self, image, style: answers.Image, sound: answers.Sound | None = None):
        loud = 1.0 if sound is None else sound.samples.abs().max()
        colour = style.pixels.float().mean((1, 2))[:, None, None]
        return {"mixed": answers.Image(loud * (image + colour) / 2 / 255)}
'''


def test_what_a_method_takes_besides_the_item_is_read_by_its_type(make_run, tmp_path, photos):
    (tmp_path / "styled.py").write_text(STYLED)
    run = make_run("styled", method=str(tmp_path / "styled.py"), channels=3)
    for name, crop in zip(("photo", "monet"), photos, strict=False):
        Image.fromarray(crop).save(tmp_path / f"{name}.png")
    write_sound(tmp_path / "half.wav", np.full(400, 0.5), 4000)
    words = ["apply", str(run.folder), str(tmp_path / "photo.png"), "--with", f"style={tmp_path / 'monet.png'}"]
    mean = (photos[0] + photos[1].mean((0, 1), keepdims=True)) / 2
    for more, loud in (([], 1), (["--with", f"sound={tmp_path / 'half.wav'}"], 0.5)):
        out = tmp_path / f"out{loud}"
        assert main([*words, *more, "--out", str(out)]) == 0
        made = np.asarray(Image.open(out / "photo-mixed.png"))
        assert np.abs(made - loud * mean).max() <= 1
    takes = r"takes --with style=FILE \(\.png or \.jpg or \.jpeg or \.webp\), --with sound=FILE \(\.wav"
    for given in ({"style": "a.csv"}, {"style": "a.png", "colour": "a.png"}):
        with pytest.raises(UsageError, match=takes):
            apply(run, str(tmp_path / "photo.png"), tmp_path / "out", **given)
    with pytest.raises(WithholdError, match=r"none\.png"):
        apply(run, str(tmp_path / "photo.png"), tmp_path / "out", style=str(tmp_path / "none.png"))


def test_an_image_of_any_shape_is_named_as_its_folder_would_be(make_run, tmp_path, photos):
    run = make_run("namer", method="dann", channels=3, classes=["cat", "dog"])
    wide = np.concatenate([photos[0], photos[1]], axis=1)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    said = run.apply(torch.from_numpy(wide).permute(2, 0, 1))["class"]
    square = torch.from_numpy(decode(wide, 32, 3).copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        shares = run.method.classify(square).softmax(1)[0]
    assert said.name == run.method.classes[shares.argmax()]
    assert said.probability == said.shares[said.name] == pytest.approx(shares.max().item(), abs=1e-5)
    (path,) = apply(run, str(tmp_path / "wide.png"), tmp_path / "out")
    with open(path, newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["class"], float(row["probability"])) == (said.name, pytest.approx(said.probability, abs=1e-5))


def test_a_long_text_is_named_by_all_its_windows():
    from withhold.contract.tiny import tokenizer

    encoder = withhold.nets.build("text-transformer", tokenizer=tokenizer("words"), tokens=5)
    words = "the ship sails the sea . the baker bakes bread"
    windows = encoder.cut(words)
    assert windows.shape == (2, 5)
    assert encoder.words(windows) == ["the ship sails the sea", ". the baker bakes bread"]


def test_a_legend_has_more_classes_than_there_are_colours(tmp_path):
    legend = {f"class {number}": number for number in range(1, 301)}
    write([("a.png", {"overlay": answers.Image(torch.zeros(3, 8, 8), legend)})], tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "legend.csv").open()))
    assert [row["class"] for row in rows] == list(legend)
    assert rows[0]["colour"] == rows[256]["colour"] != rows[1]["colour"]
    assert (tmp_path / "out" / "legend.png").is_file()


def test_classes_of_files_whose_names_are_not_utf8_are_labels_again(tmp_path):
    name = "caf\udce9.png"
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / name)
    write([(name, {"class": answers.Class("cup", 0.9)})], tmp_path / "out")
    samples = withhold.data.load(tmp_path / "photos", labels=tmp_path / "out" / "classes.csv")
    assert samples.labels.tolist() == [0] and samples.classes[0] == "cup"
