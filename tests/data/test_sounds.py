"""Sounds of every format decode to the original samples, and other files are reported as unreadable."""

import io
import wave
import zipfile

import av
import numpy as np
import pytest
from av.stream import Disposition
from scipy import signal

from tests.data.recordings import damage_packet, mux_sound, tone, write_sound, write_video
from withhold import data
from withhold.data import media
from withhold.data.kind import Unreadable
from withhold.data.sounds import Sounds, decode, encode, excerpt
from withhold.data.videos import middle
from withhold.errors import UsageError, WithholdError

FORMATS = {
    "8 bit.wav": "pcm_u8", "16 bit.wav": "pcm_s16le", "24 bit.wav": "pcm_s24le", "float.wav": "pcm_f32le",
    "a.flac": "flac", "a.ogg": "flac", "a.opus": "libopus", "a.mp3": "libmp3lame", "a.m4a": "aac",
}  # fmt: skip
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)


def pitch(samples, rate):
    """The strongest frequency in Hz, and how loud it is: the amplitude of a sine."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) / (len(samples) / 4)
    return spectrum.argmax() * rate / len(samples), spectrum.max() / 32767


def loudness(samples):
    """The amplitude of a sine."""
    return samples.std() * np.sqrt(2) / 32767


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [16_000, 12_000])
def test_a_tone_keeps_its_pitch_its_loudness_and_its_length(name, rate, tmp_path):
    path = write_sound(tmp_path / name, tone(440, 1.5, 48_000), 48_000, FORMATS[name])
    found = decode(str(path), rate)
    exact = name.endswith((".wav", ".flac", ".ogg"))
    assert found.dtype == np.int16
    assert abs(len(found) - 1.5 * rate) <= (2 if exact else 0.05 * rate)  # coders fill their last block
    hertz, level = pitch(found, rate)
    assert hertz == pytest.approx(440, abs=1)
    assert level == pytest.approx(0.5, rel=0.02 if exact else 0.15)
    assert Sounds().measure(str(path)).rate == 48_000


def test_samples_of_the_wanted_rate_come_out_bit_for_bit(tmp_path):
    path = write_sound(tmp_path / "a.wav", NOISE, 8000)
    assert (decode(str(path), 8000) == np.rint(NOISE * 32767)).all()
    assert (decode(path.read_bytes(), 8000) == decode(str(path), 8000)).all()
    samples = np.arange(-5, 5, dtype=np.int16)
    assert (decode(encode(samples, 8000), 8000) == samples).all()


def test_what_a_lower_rate_cannot_hold_is_gone_and_not_folded(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(5000, 1, 16_000) + tone(500, 1, 16_000, 0.25), 16_000)
    hertz, level = pitch(decode(str(path), 8000), 8000)
    assert (hertz, level) == (pytest.approx(500, abs=1), pytest.approx(0.25, rel=0.02))


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (48_000, 16_000), (22_050, 16_000), (8000, 16_000)])
def test_another_rate_says_the_same_as_scipy_s_filter(rate, wanted, tmp_path):
    """Below nine tenths of what both rates can hold they differ by a three hundredth, 50 dB."""
    low = signal.butter(12, 0.36 * min(rate, wanted), fs=rate, output="sos")
    sound = 0.05 * signal.sosfiltfilt(low, np.random.default_rng(0).standard_normal(2 * rate))
    found = decode(str(write_sound(tmp_path / "a.wav", sound, rate)), wanted) / 32767
    common = np.gcd(rate, wanted)
    exact = signal.resample_poly(sound, wanted // common, rate // common, window=("kaiser", 14.0))
    assert len(found) == len(exact)
    error = (found - exact)[200:-200]
    assert (error**2).mean() < 1e-5 * (exact**2).mean()


@pytest.mark.parametrize("name", [*FORMATS, "a.mkv"])
def test_an_excerpt_is_what_is_heard_between_two_times(name, tmp_path):
    sound = np.concatenate([tone(200 * second, 1, 48_000, 0.1 * second) for second in range(1, 6)])
    path = tmp_path / name
    if name == "a.mkv":
        write_video(path, np.zeros((40, 16, 16, 3), np.uint8), 8, sound, 48_000, delay=0.25)
    else:
        write_sound(path, sound, 48_000, FORMATS[name])
    whole = decode(str(path), 48_000)
    for start, end in ((0, 1), (1.3, 1.8), (3.1, 4.9)):
        found, expected = excerpt(str(path), 48_000, start, end), whole[round(48_000 * start) : round(48_000 * end)]
        assert len(found) == len(expected)
        if name.endswith((".wav", ".flac", ".ogg")):
            assert (found == expected).all()
        else:  # of lossy files a decoder that enters in the middle lacks what was before
            assert np.abs(found - expected.astype(int))[4800:].mean() < 330
    rest = len(excerpt(str(path), 48_000, 4.5, 9))
    assert abs(rest - (len(whole) - 4.5 * 48_000)) < 4096  # a coder fills its last block
    with pytest.raises(Unreadable, match="no sound in it"):
        excerpt(str(path), 48_000, 7, 8)


def test_an_excerpt_of_a_long_file_is_little_work(tmp_path, monkeypatch):
    path = write_sound(tmp_path / "a.flac", np.tile(NOISE, 300), 8000, "flac")
    seen, decoded = [], media.decoded
    monkeypatch.setattr(media, "decoded", lambda *given: (seen.append(frame) or frame for frame in decoded(*given)))
    assert (excerpt(str(path), 8000, 200, 201) == np.rint(NOISE * 32767)).all()
    assert len(seen) < 40, "of 4,167 frames"


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    path = write_sound(tmp_path / "a.wav", np.stack([NOISE, np.zeros(8000)]), 8000)
    assert np.abs(decode(str(path), 8000) - NOISE * 32767 / 2).max() <= 1


@pytest.mark.parametrize("count", [2, 6, 9, 32])
def test_every_channel_counts_the_same(tmp_path, count):
    for loud in {1, 3, count - 1} - set(range(count, 4)):  # the fourth of six is for low frequencies in most layouts
        waves = np.zeros((8000, count), "<i2")
        waves[:, loud] = np.rint(NOISE * 32767)
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setparams((count, 2, 8000, 0, "NONE", ""))
            file.writeframes(waves.tobytes())
        assert np.abs(decode(str(tmp_path / "a.wav"), 8000) - NOISE * 32767 / count).max() <= 1


def test_opposite_channels_are_silence(tmp_path):
    with pytest.raises(Unreadable, match="silence"):
        decode(str(write_sound(tmp_path / "a.wav", np.stack([NOISE, -NOISE]), 8000)), 8000)


def test_rate_and_channels_may_change_on_the_way(tmp_path):
    first = write_sound(tmp_path / "a.mp3", np.stack([tone(440, 1, 44_100)] * 2), 44_100, "libmp3lame")
    second = write_sound(tmp_path / "b.mp3", tone(440, 1, 22_050), 22_050, "libmp3lame")
    first.write_bytes(first.read_bytes() + second.read_bytes())
    found = decode(str(first), 16_000)
    assert abs(len(found) - 32_000) < 2000  # of the second file the encoder's own first samples are heard
    for part in (found[1000:15_000], found[18_000:31_000]):
        assert pitch(part, 16_000)[0] == pytest.approx(440, abs=2)
        assert loudness(part) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.opus", "a.ogg", "a.flac"])
@pytest.mark.parametrize("count", [24_000, 48_000, 50_001])
def test_what_an_encoder_adds_is_not_heard(name, count, tmp_path):
    sound = np.convolve(np.random.default_rng(1).normal(0, 0.2, count), np.ones(8) / 8, "same")
    found = decode(str(write_sound(tmp_path / name, sound, 48_000, FORMATS[name])), 48_000)
    assert abs(len(found) - count) <= (48 if name == "a.m4a" else 0)  # MP4 counts milliseconds
    same = np.fft.irfft(np.fft.rfft(sound, 2 * count) * np.fft.rfft(found, 2 * count).conj())
    assert same.argmax() == 0, "it is not delayed"


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.flac"])
def test_a_damaged_packet_costs_that_packet(name, tmp_path):
    sound = np.linspace(0.1, 0.5, 96_000) * tone(440, 2, 48_000, 1)
    path = write_sound(tmp_path / name, sound, 48_000, FORMATS[name])
    found = decode(str(damage_packet(path, 9)), 48_000)
    assert 0 <= 96_000 - len(found) <= 4608, "a block of FLAC, the longest"
    for place in (0, 40_000, 80_000):
        assert loudness(found[place:][:4000]) == pytest.approx(0.1 + 0.4 * (place + 2000) / 96_000, rel=0.1)


def test_the_cover_of_a_sound_is_no_picture_beside_it(tmp_path):
    with av.open(str(tmp_path / "a.mp3"), "w") as file:
        sound, cover = file.add_stream("libmp3lame", rate=48_000, layout="mono"), file.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        file.mux(cover.encode(av.VideoFrame(16, 16, "yuvj420p")))
        mux_sound(file, sound, tone(440, 1, 48_000))
    assert len(decode(str(tmp_path / "a.mp3"), 48_000)) == 48_000
    with pytest.raises(Unreadable, match="no picture"):
        middle(str(tmp_path / "a.mp3"))


def test_the_sound_track_of_a_video_is_a_sound(tmp_path):
    frames = np.zeros((8, 16, 16, 3), np.uint8)
    path = write_video(tmp_path / "a.mkv", frames, 8, NOISE)
    assert (decode(str(path), 8000) == np.rint(NOISE * 32767)).all()


@pytest.mark.parametrize("delay", [0.25, -0.25])
def test_a_sound_track_begins_when_its_pictures_do(delay, tmp_path):
    path = write_video(tmp_path / "a.mkv", np.zeros((16, 16, 16, 3), np.uint8), 8, NOISE, delay=delay)
    found, true = decode(str(path), 8000), np.rint(NOISE * 32767)
    if delay > 0:
        assert not found[:2000].any()
        assert (found[2000:] == true).all()
    else:  # Matroska moves everything until no time is negative
        assert (found == true[2000:]).all()


def broken(tmp_path):
    """Items that are no sound, and why."""
    whole = encode(np.ones(100, np.int16), 8000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("hello, this is no sound at all")
    silent = write_sound(tmp_path / "silent.wav", np.zeros(800), 8000)
    mute = write_video(tmp_path / "mute.mkv", np.zeros((4, 16, 16, 3), np.uint8), 8)
    return {
        str(tmp_path / "empty.wav"): "empty file",
        str(tmp_path / "text.wav"): "unknown format",
        str(tmp_path / "none.wav"): "missing file",
        str(tmp_path): "not a file",
        str(silent): "silence",
        str(mute): "it has no sound track",
        b"": "empty file",
        whole[:44]: "no sound in it",
    }


def test_what_is_no_sound_is_said_in_a_few_words(tmp_path):
    for item, reason in broken(tmp_path).items():
        with pytest.raises(Unreadable, match=reason):
            decode(item, 8000)


def test_of_a_sound_that_breaks_off_what_is_before_is_kept(tmp_path):
    path = write_sound(tmp_path / "a.flac", NOISE, 8000, "flac")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\0" * (len(whole) // 2))
    found = decode(str(path), 8000)
    assert 1000 < len(found) < 8000
    assert (found[:1000] == np.rint(NOISE * 32767)[:1000]).all()


def test_a_folder_of_sounds_of_mixed_rates_has_one_rate_and_classes(tmp_path):
    for name, hertz, rate in (("low/1.wav", 200, 8000), ("low/2.flac", 250, 44_100), ("high/3.wav", 1000, 22_050)):
        write_sound(tmp_path / "s" / name, tone(hertz, 1, rate), rate, "flac" if name.endswith("flac") else "pcm_s16le")
    (tmp_path / "s" / "low" / "0.wav").touch()
    sounds = data.load(str(tmp_path / "s"), "audio", seconds=0.5)
    assert sounds.rate == 16_000  # 22,050 is the median, but 16,000 the most
    assert sounds.names == ["high/3.wav", "low/1.wav", "low/2.flac"]
    assert sounds.labels.tolist() == [0, 1, 1]
    assert sounds.classes == ("high", "low")
    assert sounds.skipped == [("low/0.wav", "empty file")]
    heard = sounds.batch([0, 1, 2])
    assert heard.shape == (3, 8000)
    assert [round(pitch(sound.numpy(), 16_000)[0]) for sound in heard] == [1000, 200, 250]
    assert data.load(str(tmp_path / "s"), "audio", rate=8000).rate == 8000


def test_windows_lie_side_by_side_and_short_sounds_end_in_silence(tmp_path):
    write_sound(tmp_path / "s" / "1.wav", NOISE[:300], 8000)
    write_sound(tmp_path / "s" / "2.wav", NOISE[:2500], 8000)
    sounds = data.load(str(tmp_path / "s"), "audio", seconds=0.125)
    true = np.rint(NOISE * 32767).astype(np.int16)
    middles = sounds.batch([0, 1]).numpy()
    assert (middles[0] == np.pad(true[:300], (0, 700))).all()
    assert (middles[1] == true[750:1750]).all()
    cut = sounds.windows()
    assert cut.owners.tolist() == [0, 1, 1, 1]
    assert cut.times.tolist() == [[0, 0.0375], [0, 0.125], [0.125, 0.25], [0.1875, 0.3125]]
    for window, begin in zip(cut.batch([1, 2, 3]).numpy(), (0, 1000, 1500), strict=True):
        assert (window == true[begin : begin + 1000]).all()


def test_zip_manifest_list_and_parquet_hold_the_same_sounds(tmp_path):
    import pyarrow
    from pyarrow import parquet

    paths = [write_sound(tmp_path / "s" / f"{i}.wav", np.roll(NOISE, i), 8000) for i in range(3)]
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"recordings/{path.name}")
    (tmp_path / "list.csv").write_text("sound,label\n" + "".join(f"s/{p.name},{i}\n" for i, p in enumerate(paths)))
    table = pyarrow.table({"audio": [{"bytes": p.read_bytes(), "path": p.name} for p in paths]})
    parquet.write_table(table, tmp_path / "s.parquet")
    sources = [str(tmp_path / name) for name in ("s", "s.zip", "list.csv", "s.parquet")] + [paths]
    found = [data.load(source, "audio") for source in sources]
    for sounds in found:
        assert (sounds.batch(range(3)) == found[0].batch(range(3))).all()
    assert found[2].labels.tolist() == [0, 1, 2]


def test_arrays_of_sounds_say_their_rate():
    waves = np.stack([tone(100, 1, 4000), tone(300, 1, 4000)])
    source = {"array": waves, "sampling_rate": 4000}
    sounds = data.load((source, ["low", "high"]), "audio", rate=8000)
    assert [round(pitch(sound.numpy(), 8000)[0]) for sound in sounds.batch([0, 1])] == [100, 300]
    assert sounds.classes == ("high", "low")
    whole = data.load({"array": [np.arange(9, dtype=np.int16)], "sampling_rate": 4000}, "audio")
    assert whole.whole(0).tolist() == list(range(9))
    with pytest.raises(UsageError, match="sampling_rate"):
        data.load(waves, "audio")
    with pytest.raises(UsageError, match=r"int64 \[4\]\. Give int16"):
        data.load({"array": [np.arange(4)], "sampling_rate": 4000}, "audio")


def test_a_source_without_sounds_is_refused(tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(WithholdError, match=r"None of the 1 sounds in .* \(empty.wav: empty file\)"):
        data.load(str(tmp_path), "audio")
    (tmp_path / "list.csv").write_text("title\nx\n")
    with pytest.raises(UsageError, match="Name it one of audio, sound, speech, path"):
        data.load(str(tmp_path / "list.csv"), "audio")


def test_wav_files_are_what_the_wave_module_reads():
    with wave.open(io.BytesIO(encode(np.array([1, -2, 3], np.int16), 11_025))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (11_025, 1, 2)
        assert np.frombuffer(sound.readframes(3), "<i2").tolist() == [1, -2, 3]
