"""The middle frame of a video, in every format."""

import av
import numpy as np
import pytest

from tests.data.recordings import tone, write_sound, write_video
from withhold.data.kind import Unreadable
from withhold.data.videos import middle

FRAMES = np.stack([np.full((16, 24, 3), 10 * number, np.uint8) for number in range(20)])


@pytest.mark.parametrize("ending", ["mkv", "avi"])
def test_a_file_is_shown_in_its_middle(tmp_path, ending):
    path = write_video(tmp_path / f"a.{ending}", FRAMES, 10)
    assert (middle(str(path)) == FRAMES[10]).all()
    assert (middle(path.read_bytes()) == FRAMES[10]).all()


def test_from_one_key_frame_on_it_is_the_middle_too(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 16, 24, "yuv420p"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert np.abs(middle(str(tmp_path / "a.mp4")).astype(int) - FRAMES[10]).max() < 5


def test_frames_in_a_folder_or_in_memory():
    assert middle(["a.png", "b.png", "c.png"]) == "b.png"
    assert middle(["a.png"]) == "a.png"
    assert (middle(FRAMES) == FRAMES[10]).all()


def test_what_breaks_off_before_its_middle_shows_its_last_frame(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, FRAMES.shape, np.uint8)
    whole = write_video(tmp_path / "a.mkv", noise, 10).read_bytes()
    (tmp_path / "short.mkv").write_bytes(whole[: len(whole) // 4])
    shown = middle(str(tmp_path / "short.mkv"))
    assert any((shown == frame).all() for frame in noise[:6])


def test_what_has_no_frame_says_so(tmp_path):
    write_sound(tmp_path / "a.wav", tone(200, 0.2, 8000), 8000)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    for name, reason in (("a.wav", "it has no picture"), ("b.mp4", "unknown format"), ("c.mp4", "missing file")):
        with pytest.raises(Unreadable, match=reason):
            middle(str(tmp_path / name))
