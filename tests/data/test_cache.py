"""The cache: decoded once, complete or absent, within its limit, and safe between processes."""

import errno
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from withhold import data
from withhold.data import cache
from withhold.data.images import DECODER
from withhold.errors import UsageError, WithholdError

ROOT = Path(__file__).parents[2]


def python(code: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def store(key: str, count: int = 10, size: int = 32, value: int = 0) -> None:
    pixels = np.full((count, size, size, 3), value, np.uint8)
    cache.store(
        key,
        [cache.Piece(pixels, np.arange(count), [str(i) for i in range(count)])],
        {"source": key, "classes": [], "skipped": []},
    )


def age(cache_dir: Path, *keys: str) -> None:
    """Make the entries look last used in this order, long ago."""
    for seconds, key in enumerate(keys, 1):
        os.utime(cache_dir / key / "entry.json", (seconds, seconds))


def test_the_second_load_decodes_nothing(image_folder, monkeypatch):
    folder, _ = image_folder("a/1.png", "b/2.png")
    first = data.load(folder)
    monkeypatch.setattr("withhold.data.images.decode", None)
    monkeypatch.setattr("withhold.data.images.is_grey", lambda item: False)
    second = data.load(folder)
    assert isinstance(second.array, np.memmap)
    assert (second.array == first.array).all()
    assert second.labels.tolist() == first.labels.tolist()
    assert (second.names, second.classes, second.stamp) == (first.names, first.classes, first.stamp)


def test_changed_data_and_other_sizes_are_other_entries(image_folder):
    folder, _ = image_folder("1.png", "2.png")
    first = data.load(folder)
    assert data.load(folder, size=16).stamp != first.stamp
    assert data.load(folder, channels=1).stamp != first.stamp
    image_folder("2.png", seed=9)
    os.utime(folder / "2.png", ns=(1, 1))  # even where the clock is too coarse to see it
    changed = data.load(folder)
    assert changed.stamp != first.stamp
    assert (changed.array[0] == first.array[0]).all()
    assert DECODER == 1  # a change of the decoder's pixels must raise it, and this test with it


def test_other_labels_are_another_entry(tmp_path, image_folder):
    folder, _ = image_folder("1.png", "2.png")
    for labels in ("ab", "ba"):
        (folder / "list.csv").write_text(f"path,label\n1.png,{labels[0]}\n2.png,{labels[1]}\n")
        assert data.load(folder / "list.csv").labels.tolist() == ["ab".index(label) for label in labels]


def test_corrupt_items_are_skipped_and_listed(image_folder):
    folder, pixels = image_folder("1.png", "2.png", "3.png", "4.png", "5.png", size=(32, 32))
    (folder / "2.png").write_text("not a picture")
    (folder / "3.png").write_bytes(b"")
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:600])
    for samples in (data.load(folder), data.load(folder)):
        assert samples.names == ["1.png", "5.png"]
        assert (samples.array[1] == pixels["5.png"]).all()
        assert [name for name, _ in samples.skipped] == ["2.png", "3.png", "4.png"]
        assert [reason for _, reason in samples.skipped][:2] == ["not an image", "empty file"]
        assert "truncated" in samples.skipped[2][1]
    with pytest.raises(WithholdError, match=r"2.png in .*photos cannot be read: not an image"):
        data.load(folder, strict=True)
    del samples
    assert cache.clear() > 0
    with pytest.raises(WithholdError, match=r"2.png in .*photos cannot be read: not an image"):
        data.load(folder, strict=True)
    assert cache.entries() == []


@pytest.mark.parametrize("size", [None, 32])
def test_nothing_readable(image_folder, size):
    folder, _ = image_folder("1.png", "2.png")
    for name in ("1.png", "2.png"):
        (folder / name).write_text("not a picture")
    with pytest.raises(WithholdError, match=r"None of the 2 images in .* can be read \(1.png: not an image\)"):
        data.load(folder, size=size, channels=3 if size else None)
    assert cache.entries() == []


def test_entries_and_clear(image_folder, cache_dir):
    assert cache.entries() == []
    samples = data.load(image_folder("1.png", "2.png")[0])
    store("other")
    listed = {entry.key: entry for entry in cache.entries()}
    assert listed[samples.stamp].shape == (2, 40, 40, 3)
    assert listed[samples.stamp].source.endswith("photos")
    assert listed[samples.stamp].bytes > 2 * 40 * 40 * 3
    (cache_dir / "other.x.partial").mkdir()  # as a killed process leaves it
    (cache_dir / "other.lock").touch()
    assert cache.clear() == listed["other"].bytes  # the samples are in use
    assert [entry.key for entry in cache.entries()] == [samples.stamp]
    assert not list(cache_dir.glob("*.partial"))
    view = samples.select([0]).array.base, samples.batch([0])
    del samples, view
    assert cache.clear() > 0
    assert cache.entries() == []


def test_the_oldest_unused_entries_give_way(cache_dir, monkeypatch):
    for key in ("old", "held", "new"):
        store(key)
    size = cache.entries()[0].bytes
    samples = cache.find("held")
    age(cache_dir, "held", "old", "new")
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", str(3 * size + 100))
    assert cache.has_room(50)
    assert len(cache.entries()) == 3  # enough room: nobody goes
    assert cache.has_room(size)
    assert {entry.key for entry in cache.entries()} == {"held", "new"}
    assert not cache.has_room(4 * size)
    assert len(cache.entries()) == 2  # what cannot fit drives nobody out
    assert not cache.has_room(3 * size)
    assert [entry.key for entry in cache.entries()] == ["held"]
    assert samples.values.sum() == 0
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "lots")
    with pytest.raises(UsageError, match=r"WITHHOLD_CACHE_LIMIT is 'lots'\. Give a size such as 20GB"):
        cache.has_room(1)


def test_an_entry_that_another_process_holds_is_kept():
    store("held")
    holder = python("from withhold.data import cache; s = cache.find('held'); print('ready', flush=True); input()")
    assert holder.stdout.readline() == "ready\n"
    assert cache.clear() == 0
    holder.kill()  # the system frees what a killed process held
    holder.wait()
    assert cache.clear() > 0


def test_a_damaged_entry_is_decoded_again(image_folder, cache_dir):
    folder, _ = image_folder("1.png", "2.png")
    samples = data.load(folder)
    wanted, path = samples.array.copy(), cache_dir / samples.stamp / "values.npy"
    del samples
    path.write_bytes(path.read_bytes()[:1000])
    assert (data.load(folder).array == wanted).all()
    path.write_bytes(b"")
    assert (data.load(folder).array == wanted).all()
    (path.parent / "entry.json").write_text("")
    assert (data.load(folder).array == wanted).all()


@pytest.mark.parametrize("part", ["values", "names", "labels", "sources", "entry"])
@pytest.mark.parametrize("place", [0.5, 0.95])
def test_a_changed_byte_is_found_out(image_folder, cache_dir, part, place):
    folder, _ = image_folder("a/1.png", "b/2.png")
    samples = data.load(folder)
    wanted, names, labels = samples.array.copy(), samples.names, samples.labels.tolist()
    path = next((cache_dir / samples.stamp).glob(f"{part}.*"))
    del samples
    content, status = bytearray(path.read_bytes()), path.stat()
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = data.load(folder)
    assert (found.array == wanted).all()
    assert (found.names, found.labels.tolist()) == (names, labels)


def test_values_too_large_to_be_summed_are_known_by_their_time(cache_dir):
    store("large", count=200, size=256)
    assert (cache_dir / "large" / "values.npy").stat().st_size > 2 * cache.BLOCKS * cache.BLOCK
    assert cache.find("large") is not None
    with (cache_dir / "large" / "values.npy").open("r+b") as file:
        file.seek(300_000)  # between two blocks
        file.write(b"\1")
    os.utime(cache_dir / "large" / "values.npy", ns=(1, 1))  # even where the clock is too coarse to see it
    assert cache.find("large") is None


def test_the_same_files_by_other_names_are_another_entry(image_folder):
    folder, _ = image_folder("cat/1.png", "dog/1.png")
    (folder.parent / "all.csv").write_text("path,label\nphotos/cat/1.png,cat\nphotos/dog/1.png,dog\n")
    assert data.load(folder.parent / "all.csv").names == ["photos/cat/1.png", "photos/dog/1.png"]
    assert data.load(folder).names == ["cat/1.png", "dog/1.png"]


@pytest.mark.parametrize("way", ["move", "link", "write"])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_seen(image_folder, way):
    folder, _ = image_folder("1.png", "2.png", size=(32, 32))
    other, pixels = image_folder("1.png", size=(32, 32), seed=7, folder="other")
    (folder / "1.png").rename(folder.parent / "old.png")
    (folder / "1.png").symlink_to(folder.parent / "old.png")
    for path in (folder.parent / "old.png", other / "1.png"):
        os.utime(path, ns=(5, 5))
    assert (folder / "1.png").stat().st_size == (other / "1.png").stat().st_size
    data.load(folder)
    time.sleep(0.02)  # the clock of a file system may be as coarse
    if way == "move":
        (other / "1.png").replace(folder / "1.png")
    elif way == "link":
        (folder / "1.png").unlink()
        (folder / "1.png").symlink_to(other / "1.png")
    else:
        (folder / "1.png").write_bytes((other / "1.png").read_bytes())
        os.utime(folder / "1.png", ns=(5, 5))
    assert (data.load(folder).array[0] == pixels["1.png"]).all()


def test_an_error_that_passes_is_not_remembered(image_folder, monkeypatch):
    folder, _ = image_folder("1.txt.png", "2.png")
    with zipfile.ZipFile(folder.parent / "photos.zip", "w") as archive:
        archive.write(folder / "2.png", "2.png")

    def fail(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "read", fail)
        with pytest.raises(WithholdError, match=r"photos.zip cannot be read now \(Too many open files\)\. Solve this"):
            data.load(folder.parent / "photos.zip", size=32, channels=3)
    assert cache.entries() == []
    assert len(data.load(folder.parent / "photos.zip", size=32, channels=3)) == 1


def test_the_caches_of_a_desktop_hold_it(monkeypatch, tmp_path):
    monkeypatch.delenv("WITHHOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "withhold"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.root() == Path.home() / ".cache" / "withhold"


def test_nothing_is_imported_that_windows_lacks():
    code = "import sys; sys.modules['fcntl'] = sys.modules['resource'] = None; import withhold.data"
    process = python(code)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def test_what_is_held_is_let_go_without_a_trace(cache_dir):
    store("held")
    first, second = cache.find("held"), cache.find("held")
    assert cache.clear() == 0
    del first
    assert cache.clear() == 0
    del second
    assert cache.clear() > 0
    assert [path for path in cache_dir.iterdir() if path.suffix != ".lock"] == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(image_folder, cache_dir):
    folder, _ = image_folder(*(f"{i}.png" for i in range(30)))
    code = f"""
import resource
from withhold import data
from withhold.errors import WithholdError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # every file ends here, as on a full disk
try:
    data.load({str(folder)!r})
except WithholdError as error:
    print(error)
"""
    output, _ = python(code).communicate()
    assert output.strip() == (
        f"The cache in {cache_dir} cannot be written (File too large). "
        "Free some space, or set WITHHOLD_CACHE to another folder."
    )
    assert [path.suffix for path in cache_dir.iterdir() if path.suffix != ".lock"] == []


def test_a_cache_that_cannot_be_made_is_one_sentence(image_folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WITHHOLD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WithholdError, match=r"The cache in .*file/cache cannot be written \(Not a directory\)"):
        data.load(image_folder("1.png")[0])


def test_a_process_killed_while_it_writes_leaves_no_entry(image_folder, cache_dir):
    folder, _ = image_folder("1.png", "2.png", "3.png")
    code = f"""
import os, signal
from withhold import data
from withhold.data import images
real, count = images.decode, []
def decode(*arguments):
    count.append(1)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
images.decode, images.CHUNK = decode, 1
data.load({str(folder)!r}, size=32, channels=3)
"""
    process = python(code)
    process.communicate()
    assert process.returncode == -9
    assert any(file.stat().st_size for partial in cache_dir.glob("*.partial") for file in partial.rglob("*"))
    assert cache.entries() == []
    assert len(data.load(folder, size=32, channels=3)) == 3
    assert not list(cache_dir.glob("*.partial"))


def test_processes_that_start_at_once_decode_once(image_folder, cache_dir):
    folder, _ = image_folder(*(f"{i}.png" for i in range(20)))
    code = f"""
from withhold import data
from withhold.data import images
real, count = images.decode, []
images.decode = lambda *arguments: count.append(1) or real(*arguments)
samples = data.load({str(folder)!r}, size=32, channels=3)
print(len(count), int(samples.array.sum()))
"""
    outputs = [process.communicate()[0].split() for process in [python(code) for _ in range(2)]]
    assert sorted(int(count) for count, _ in outputs) == [0, 20]
    assert len({total for _, total in outputs}) == 1


@pytest.mark.parametrize("damaged", ["", None])
def test_entries_without_a_description_are_removed(cache_dir, damaged):
    store("whole")
    store("half")
    (cache_dir / "half" / "entry.json").unlink()
    if damaged is not None:
        (cache_dir / "half" / "entry.json").write_text(damaged)
    assert cache.has_room(1) and not (cache_dir / "half").exists() and cache.find("whole") is not None


def test_a_header_that_numpy_cannot_parse_is_a_damaged_entry(cache_dir):
    store("key")
    (cache_dir / "key" / "values.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', (")
    assert cache.find("key") is None
