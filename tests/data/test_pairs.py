"""Pairs of images or clips and sounds stay aligned, by item and in time."""

import numpy as np
import pytest
from PIL import Image

from tests.data.recordings import tone, write_sound, write_video
from withhold import data
from withhold.data.images import encode
from withhold.errors import WithholdError

KIND = "video + audio"
FPS, RATE = 8, 8000


def shades(levels):
    """One grey frame a level in 0..255: uint8 [t, 16, 16, 3]."""
    return np.repeat(np.asarray(levels, np.uint8), 16 * 16 * 3).reshape(-1, 16, 16, 3)


def changing(path, seconds, delay=0.0):
    """A video whose grey level and whose tone say which second it is: 20 k and 200 k Hz in second k = 1, 2 ..."""
    count = range(1, seconds + 1)
    sound = np.concatenate([tone(200 * k, 1, RATE) for k in count])
    return write_video(path, shades(np.repeat([20 * k for k in count], FPS)), FPS, sound, RATE, delay)


def pitches(sound):
    """The strongest frequency of each sound int16 [n, s], in Hz."""
    spectra = np.abs(np.fft.rfft(sound.numpy() * np.hanning(sound.shape[1])))
    return spectra.argmax(1) * RATE / sound.shape[1]


def test_in_every_window_picture_and_sound_agree(tmp_path):
    changing(tmp_path / "v" / "a.mkv", 5)
    changing(tmp_path / "v" / "b.mkv", 2)
    for frames in (FPS, 1, 3):
        pairs = data.load(str(tmp_path / "v"), KIND, frames=frames, fps=float(FPS), seconds=1.0, size=16)
        windows = pairs.windows()
        assert windows.owners.tolist() == [0] * 5 + [1] * 2
        assert windows.times.tolist() == [[k, k + 1] for k in (0, 1, 2, 3, 4, 0, 1)]
        seen, heard = windows.batch(np.arange(7))
        assert seen.shape == (7, frames, 1, 16, 16)
        assert heard.shape == (7, RATE)
        assert seen.flatten(1).unique(dim=1).shape[1] == 1, "a window's frames are of one second"
        seconds = [1, 2, 3, 4, 5, 1, 2]
        assert seen[:, 0, 0, 0, 0].tolist() == [20 * k for k in seconds]
        assert pitches(heard).tolist() == [200 * k for k in seconds]


def test_the_columns_of_both_kinds_are_learned_from(tmp_path, photos, caplog):
    rows = ["image,sound,label"]
    for k in range(3):
        Image.fromarray(photos[k]).save(tmp_path / f"{k}.png")
        write_sound(tmp_path / f"{k}.wav", tone(200, 1, RATE), RATE)
        rows.append(f"{k}.png,{k}.wav,{k}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    with caplog.at_level("INFO"):
        for parts in ((), ("number",)):
            data.load(str(tmp_path / "pairs.csv"), KIND, parts=parts, frames=1, fps=1.0, seconds=1.0, size=16)
    assert caplog.text.count("pairs.csv also has label, which this method does not use\n") == 1


def test_frames_of_less_time_than_the_sound_are_those_of_its_middle(tmp_path):
    write_video(tmp_path / "v" / "a.mkv", shades(10 * np.arange(16)), FPS, tone(200, 2, RATE), RATE)
    pairs = data.load(str(tmp_path / "v"), KIND, frames=2, fps=float(FPS), seconds=1.0, size=16)
    seen, _ = pairs.windows().batch([0, 1])
    assert seen[:, :, 0, 0, 0].tolist() == [[30, 40], [110, 120]]


def test_the_middle_window_of_an_item_agrees_too(tmp_path):
    changing(tmp_path / "v" / "a.mkv", 5)
    pairs = data.load(str(tmp_path / "v"), KIND, frames=4, fps=float(FPS), seconds=0.5, size=16)
    seen, heard = pairs.batch([0])
    assert (seen == 60).all()
    assert pitches(heard).tolist() == [600]


def test_a_sound_that_begins_late_is_heard_late(tmp_path):
    changing(tmp_path / "v" / "a.mkv", 4, delay=1.0)
    windows = data.load(str(tmp_path / "v"), KIND, frames=1, fps=float(FPS), seconds=1.0, size=16).windows()
    seen, heard = windows.batch([1, 2, 3])
    assert seen[:, 0, 0, 0, 0].tolist() == [40, 60, 80]
    assert pitches(heard).tolist() == [200, 400, 600]


def test_what_lacks_one_of_the_two_is_left_out_and_listed(tmp_path):
    folder = tmp_path / "v"
    changing(folder / "x" / "good.mkv", 1)
    changing(folder / "y" / "good.mkv", 1)
    write_video(folder / "x" / "mute.mkv", shades([10] * 8), FPS)
    (folder / "y" / "empty.mkv").touch()
    pairs = data.load(str(folder), KIND, frames=1, seconds=1.0)
    assert pairs.names == ["x/good.mkv", "y/good.mkv"]
    assert pairs.labels.tolist() == [0, 1]
    assert dict(pairs.skipped) == {"x/mute.mkv": "it has no sound track", "y/empty.mkv": "empty file"}
    with pytest.raises(WithholdError, match=r"y/empty.mkv in .* cannot be read: empty file"):
        data.load(str(folder), KIND, strict=True)


@pytest.mark.parametrize("columns", ["image,sound,label", "picture,audio,label", "path,sound,class"])
def test_a_manifest_pairs_pictures_with_sounds(columns, tmp_path):
    lines = [columns]
    for k in range(1, 5):
        (tmp_path / f"{k}.png").write_bytes(encode(shades([20 * k])[0]))
        write_sound(tmp_path / f"{k}.wav", tone(200 * k, 2, RATE), RATE)
        lines.append(f"{k}.png,{5 - k}.wav,{'odd' if k % 2 else 'even'}")
    lines += ["1.png,,odd", "2.png,none.wav,even", ",1.wav,odd"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    pairs = data.load(str(tmp_path / "pairs.csv"), KIND, frames=1, seconds=1.0, size=16)
    assert pairs.names == ["1.png", "2.png", "3.png", "4.png"]
    assert [pairs.classes[label] for label in pairs.labels] == ["odd", "even", "odd", "even"]
    windows = pairs.windows()  # a picture is shown throughout its sound
    assert windows.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    seen, heard = windows.batch(range(8))
    assert seen[:, 0, 0, 0, 0].tolist() == [20, 20, 40, 40, 60, 60, 80, 80]
    assert pitches(heard).tolist() == [800, 800, 600, 600, 400, 400, 200, 200]
    assert set(pairs.skipped) == {("row 7", "not a file"), ("none.wav", "missing file"), ("row 5", "not a file")}


def test_a_manifest_pairs_videos_with_sounds_or_takes_their_own(tmp_path):
    changing(tmp_path / "a.mkv", 2)
    write_sound(tmp_path / "b.wav", tone(1000, 2, RATE), RATE)
    (tmp_path / "other.csv").write_text("video,sound\na.mkv,b.wav\n")
    (tmp_path / "own.csv").write_text("video\na.mkv\n")
    found = {}
    for name in ("other", "own"):
        pairs = data.load(str(tmp_path / f"{name}.csv"), KIND, frames=1, fps=float(FPS), seconds=1.0, size=16)
        seen, heard = pairs.windows().batch([0, 1])
        assert seen[:, 0, 0, 0, 0].tolist() == [20, 40]
        found[name] = pitches(heard).tolist()
    assert found == {"other": [1000, 1000], "own": [200, 400]}


def test_pairs_are_chosen_split_and_labelled_together(tmp_path):
    for k in range(1, 7):
        write_video(tmp_path / "v" / f"{k}.mkv", shades([20 * k] * 8), FPS, tone(200 * k, 1, RATE), RATE)
    pairs = data.load(str(tmp_path / "v"), KIND, frames=1, seconds=1.0, size=16)
    part = pairs.with_labels(np.arange(6) % 2, ("a", "b")).select([4, 1])
    seen, heard = part.batch([0, 1])
    assert seen[:, 0, 0, 0, 0].tolist() == [100, 40]
    assert pitches(heard).tolist() == [1000, 400]
    assert part.labels.tolist() == [0, 1]
    assert (part.of("audio").batch([0]) == heard[:1]).all()
    assert (part.of("image").batch([0]) == seen[:1]).all()
    train, test = pairs.split(0.5, 0)
    assert sorted(train.names + test.names) == pairs.names


def test_nothing_that_goes_together_is_an_error(tmp_path):
    write_video(tmp_path / "v" / "mute.mkv", shades([10] * 8), FPS)
    with pytest.raises(WithholdError, match="no sound track"):
        data.load(str(tmp_path / "v"), KIND)


def test_the_talking_clips_keep_all_their_seconds(real_data):
    pairs = data.load(str(real_data / "av-clips"), KIND, frames=8, fps=8.0, seconds=1.0, size=32)
    assert len(pairs) == 12
    lengths = [np.ptp(span) / part.rate for part in pairs.members for span in part.spans]
    assert np.abs(np.subtract(lengths[:12], lengths[12:])).max() < 0.2
