"""Mask propagation through a video: output files and refused input."""

import av
import numpy as np
import pytest
from PIL import Image

from withhold.answers import apply
from withhold.answers.tracking import COLOURS
from withhold.cli import main
from withhold.errors import UsageError, WithholdError

PALETTE = [0, 0, 0, 250, 10, 10, 10, 250, 10]


@pytest.fixture
def run(make_run):
    decoding = {"size": 32, "channels": 3, "frames": 4, "fps": 6.0}
    encoder = {"name": "fineconv", "size": 32, "channels": 1, "pretrained": False}
    return make_run("tracker", method="tracking_by_colorizing", encoder=encoder, decoding=decoding)


@pytest.fixture
def video(tmp_path, photos):
    """Four frames of 32 x 47 pixels, and a mask of the first: 1 on the left, 2 on the right."""
    (tmp_path / "bear").mkdir()
    for number in range(4):
        Image.fromarray(np.concatenate([photos[0], photos[1]], axis=1)[:, number : number + 47]).save(
            tmp_path / "bear" / f"{number}.png"
        )
    labels = np.zeros((32, 47), dtype=np.uint8)
    labels[8:24, 4:20], labels[8:24, 28:44] = 1, 2
    mask = Image.fromarray(labels)
    mask.putpalette(PALETTE)
    mask.save(tmp_path / "first.png")
    return tmp_path / "bear"


def test_masks_keep_shape_numbers_and_palette(run, video, tmp_path):
    written = apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "first.png"))
    names = [path.relative_to(tmp_path / "out").as_posix() for path in written]
    assert names == [*(f"bear-masks/{number:05d}.png" for number in range(4)), "bear-overlay.mp4"]
    first = Image.open(tmp_path / "first.png")
    for number, path in enumerate(written[:4]):
        with Image.open(path) as mask:
            assert (mask.mode, mask.size, mask.getpalette()[:9]) == ("P", (47, 32), PALETTE)
            assert set(np.unique(mask)) <= {0, 1, 2}
            agreement = (np.array(mask) == np.array(first)).mean()
            assert agreement == 1 if number == 0 else agreement > 0.6


def test_the_overlay_is_the_video_in_the_masks_colours(run, video, tmp_path):
    *masks, film = apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "first.png"))
    with av.open(str(film)) as container:
        assert container.streams.video[0].average_rate == 24
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(32, 46, 3)] * 4
    for frame, mask, path in zip(frames, masks, sorted(video.iterdir()), strict=True):
        numbers, own = np.array(Image.open(mask))[:, :46], np.array(Image.open(path))[:, :46].astype(float)
        for number in (1, 2):
            mixed = (own + PALETTE[3 * number : 3 * number + 3]) / 2
            assert np.abs(frame - mixed)[numbers == number].mean() < 25
        assert np.abs(frame - own)[numbers == 0].mean() < 25


def test_grey_masks_are_drawn_in_colours_of_our_own(run, video, tmp_path):
    labels = (np.array(Image.open(tmp_path / "first.png")) > 0).astype(np.uint8) * 255
    Image.fromarray(labels).save(tmp_path / "grey.png")
    *masks, film = apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "grey.png"))
    with Image.open(masks[1]) as mask:
        assert mask.mode == "L"
        assert set(np.unique(mask)) <= {0, 255}
    with av.open(str(film)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    own = np.array(Image.open(video / "0.png"))[:, :46].astype(float)
    mixed = (own + np.array(COLOURS[255 % len(COLOURS)])) / 2
    assert np.abs(frame - mixed)[labels[:, :46] > 0].mean() < 25


def test_a_mask_may_be_smaller_than_the_video(run, video, tmp_path):
    for path in video.iterdir():
        Image.open(path).resize((94, 64)).save(path)
    *masks, film = apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "first.png"))
    assert Image.open(masks[2]).size == (47, 32)
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).to_ndarray(format="rgb24").shape == (64, 94, 3)


def test_the_command_line_takes_a_mask(run, video, tmp_path, capsys):
    words = [
        "apply",
        str(run.folder),
        str(video),
        "--with",
        f"mask={tmp_path / 'first.png'}",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    assert "Wrote 5 files to" in capsys.readouterr().out


def test_a_mask_and_a_tracker_belong_together(run, make_run, video, tmp_path):
    with pytest.raises(UsageError, match=r"needs a mask\. Give --with mask=FILE \(\.png or \.csv\)\."):
        apply(run, str(video), tmp_path / "out")
    with pytest.raises(UsageError, match=r"takes --with mask=FILE \(\.png or \.csv\)\. Omit --with mask=one\.gif\."):
        apply(run, str(video), tmp_path / "out", mask="one.gif")
    with pytest.raises(UsageError, match=r"autoencoder takes no --with\. Omit --with mask=m\.png\."):
        apply(make_run(method="autoencoder"), str(video), tmp_path / "out", mask="m.png")
    Image.new("L", (47, 32)).save(tmp_path / "first.png")
    with pytest.raises(WithholdError, match=r"first\.png is empty"):
        apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "first.png"))
    assert not (tmp_path / "out").exists()


def test_a_run_is_measured_on_sequences_alone(run, make_run, video, tmp_path, capsys):
    for part in ("images", "masks"):
        (tmp_path / "toys" / part / "bear").mkdir(parents=True)
    for path in video.iterdir():
        path.rename(tmp_path / "toys" / "images" / "bear" / path.name)
        Image.open(tmp_path / "first.png").save(tmp_path / "toys" / "masks" / "bear" / path.name)
    source = str(tmp_path / "toys")
    assert main(["evaluate", str(run.folder), source, "--protocol", "tracking"]) == 0
    said = capsys.readouterr().out
    assert "tracking J bear" in said
    assert f"Measured on 3 items of {source}." in said
    rows = run.results()
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "untrained, near", "colors", "identity"}
    assert all(row["value"] == 1 for row in rows if row["encoder"] == "identity")
    assert main(["report", str(run.folder), "--data", source + "/images"]) == 0
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Tracking, J" in page
    assert "First mask, copied" in page
    assert "regions (J) and contours (F)" in page
    assert "Accuracy in percent" not in page
    with pytest.raises(UsageError, match=r"knn takes items \+ label, not video \+ mask"):
        run.evaluate(source, protocols=("tracking", "knn"))


def test_points_are_followed_and_drawn(run, video, tmp_path):
    (tmp_path / "points.csv").write_text("name,x,y\nnose,10,12\npaw,40.5,20\n")
    table, film = apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "points.csv"))
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert rows[:3] == [["frame", "name", "x", "y"], ["0", "nose", "10.0", "12.0"], ["0", "paw", "40.5", "20.0"]]
    assert [row[:2] for row in rows[1:]] == [[str(frame), name] for frame in range(4) for name in ("nose", "paw")]
    for row in rows[3:]:
        start = {"nose": (10, 12), "paw": (40.5, 20)}[row[1]]
        assert max(abs(float(row[2 + axis]) - start[axis]) for axis in (0, 1)) < 12
    with av.open(str(film)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    assert np.abs(frame[12, 10] - COLOURS[0]).mean() < 60
    assert np.abs(frame[20, 40] - COLOURS[1]).mean() < 60


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "name,x\nnose,10\n",
            r"cannot be read as points \(it has no column 'y'\)\. Give a csv file with the columns name",
        ),
        ("name,x,y\nnose,ten,1\n", "cannot be read as points .*could not convert"),
        ("name,x,y\nnose,47,1\n", "nose is at 47, 1, outside the frame of 47 x 32 pixels"),
        ("name,x,y\n", "has no points. Give a line with name, x, y"),
    ],
)
def test_points_that_make_no_sense_are_refused(text, sentence, run, video, tmp_path):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "points.csv"))
    with pytest.raises(UsageError, match=r"none\.csv cannot be read as points \(No such file"):
        apply(run, str(video), tmp_path / "out", mask=str(tmp_path / "none.csv"))
    assert not (tmp_path / "out").exists()


def test_a_video_that_cannot_be_read_is_named_with_points_too(run, tmp_path):
    (tmp_path / "points.csv").write_text("name,x,y\nnose,10,12\n")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(WithholdError, match=r"broken\.mp4 cannot be read: unknown format"):
        apply(run, str(tmp_path / "broken.mp4"), tmp_path / "out", mask=str(tmp_path / "points.csv"))
    assert not (tmp_path / "out").exists()
