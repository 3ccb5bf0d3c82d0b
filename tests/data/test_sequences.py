"""Whole videos and their masks, from folders and files."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from withhold import data
from withhold.data.parts import Masks
from withhold.data.sequences import read_mask
from withhold.errors import UsageError, WithholdError


@pytest.fixture
def folder(tmp_path):
    """Two sequences of three frames of 40 x 60 pixels; the masks have a palette, and the last of one is missing."""
    rng = np.random.default_rng(0)
    for name in ("bear", "deep/swan"):
        for part in ("images", "masks"):
            (tmp_path / part / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number:05d}.png")
            mask = Image.fromarray(np.eye(40, 60, dtype=np.uint8) * 2)
            mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
            mask.save(tmp_path / "masks" / name / f"{number:05d}.png")
    (tmp_path / "masks" / "bear" / "00002.png").unlink()
    return tmp_path


def film(path, frames, rate=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def test_sequences_are_pairs_of_folders(folder):
    bear, swan = data.sequences(folder)
    assert (bear.name, swan.name) == ("bear", "deep/swan")
    assert sorted(bear.masks) == [0, 1]
    assert sorted(swan.masks) == [0, 1, 2]
    mask = swan.mask(2)
    assert np.array_equal(mask.labels, 2 * np.eye(40, 60, dtype=np.int64))
    assert mask.palette[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]


def test_frames_follow_their_numbers(folder):
    for part in ("images", "masks"):
        for number, path in enumerate(sorted((folder / part / "bear").iterdir())):
            path.rename(path.with_name(f"{number + 9}.png"))
    bear = data.sequences(folder)[0]
    assert [path[-7:] for path in bear.video] == ["r/9.png", "/10.png", "/11.png"]
    assert sorted(bear.masks) == [0, 1]


def test_a_mask_is_turned_like_its_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    Image.fromarray(np.eye(40, 60, dtype=np.uint8)).save(tmp_path / "mask.png", exif=exif)
    mask = read_mask(str(tmp_path / "mask.png"))
    assert np.array_equal(mask.labels, np.rot90(np.eye(40, 60, dtype=np.int64), -1))
    assert np.array_equal(Masks(size=40).decode(str(tmp_path / "mask.png"))[..., 0], mask.labels[10:50])


def test_the_names_of_davis_are_known(folder):
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "masks").rename(folder / "Annotations")
    assert [sequence.name for sequence in data.sequences(folder)] == ["bear", "deep/swan"]


def test_frames_are_whole_and_scaled(folder):
    bear, _ = data.sequences(folder)
    own = np.stack([np.array(Image.open(path)) for path in bear.video])
    assert np.array_equal(bear.frames(), own)
    small = bear.frames(20)
    assert small.shape == (3, 20, 30, 3)
    expected = np.array(Image.fromarray(own[1]).resize((30, 20), Image.Resampling.LANCZOS))
    assert np.array_equal(small[1], expected)


def test_grey_frames_have_three_channels(folder):
    bear, _ = data.sequences(folder)
    for path in bear.video:
        Image.open(path).convert("L").save(path)
    frames = bear.frames(20)
    assert frames.shape == (3, 20, 30, 3)
    assert (frames == frames[..., :1]).all()


def test_a_file_gives_every_frame(tmp_path, photos):
    film(tmp_path / "a.mp4", list(photos[:5]))
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / "first.png")
    sequence = data.sequence(str(tmp_path / "a.mp4"), str(tmp_path / "first.png"))
    assert np.array_equal(sequence.frames(), photos[:5])
    assert data.frame_rate(sequence.video) == Fraction(10)
    assert sequence.mask(0).palette is None


def test_a_folder_of_frames_is_one_video(folder):
    mask = str(folder / "masks" / "bear" / "00000.png")
    sequence = data.sequence(str(folder / "images" / "bear"), mask)
    assert sequence.frames(16).shape == (3, 16, 24, 3)
    assert data.frame_rate(sequence.video) == 24
    with pytest.raises(UsageError, match="has 2 videos, but a mask belongs to one"):
        data.sequence(str(folder / "images"), mask)


def test_what_is_wrong_is_said(folder, tmp_path):
    with pytest.raises(UsageError, match=r"has no sequences with masks\. Give a folder with images/NAME"):
        data.sequences(folder / "images")
    bear = data.sequences(folder)[0]
    first = folder / "masks" / "bear" / "00000.png"

    Image.fromarray(np.zeros((40, 60), dtype=np.uint8)).save(first)
    with pytest.raises(WithholdError, match=r"00000\.png is empty: all its pixels are 0"):
        bear.frames(20)
    Image.fromarray(np.ones((40, 40), dtype=np.uint8)).save(first)
    with pytest.raises(WithholdError, match="has 40 x 40 pixels, which is not the aspect ratio of the frames of bear"):
        bear.frames(20)
    Image.fromarray(np.ones((40, 60, 3), dtype=np.uint8)).save(first)
    with pytest.raises(WithholdError, match=r"00000\.png is in colour \(RGB\), but a mask needs numbers"):
        bear.mask(0)
    Image.fromarray(np.ones((40, 60), dtype=np.uint8)).save(first, "JPEG")
    with pytest.raises(WithholdError, match=r"00000\.png cannot be read as a mask \(saved as JPEG, which changes"):
        bear.mask(0)
    first.write_text("no")
    with pytest.raises(WithholdError, match=r"00000\.png cannot be read as a mask"):
        bear.mask(0)
    first.unlink()
    with pytest.raises(UsageError, match=r"The first frame of bear in .*, bear/00000\.png, has no mask\. Draw one"):
        data.sequences(folder)


def test_one_frame_is_nothing_to_follow(folder):
    bear = data.sequences(folder)[0]
    with pytest.raises(WithholdError, match=r"bear has 1 frame\(s\), but tracking needs at least two"):
        data.Sequence("bear", bear.video[:1], bear.masks).frames()
    (folder / "images" / "bear" / "00000.png").write_text("no")
    with pytest.raises(WithholdError, match="bear cannot be read: not an image"):
        bear.frames()


def test_frames_of_several_sizes_are_refused(folder):
    bear = data.sequences(folder)[0]
    Image.new("RGB", (30, 30)).save(folder / "images" / "bear" / "00002.png")
    with pytest.raises(WithholdError, match="The frames of bear differ in size"):
        bear.frames(20)
