"""Claims: who hears digits while seeing them learns to find one by the other, and where on a canvas the spoken one is.

    python benchmarks/claims/audiovisual.py DATA embedding [--minutes 6] [--seed 0]
    python benchmarks/claims/audiovisual.py DATA contrastive [--minutes 6] [--seed 0]
    python benchmarks/claims/audiovisual.py DATA localization [--minutes 12] [--seed 0]
    python benchmarks/claims/audiovisual.py DATA clips [--minutes 1]

DATA holds the folders mnist, fsdd and av-clips. Every pair is a picture and a recording of the same digit, written as
a csv manifest with PNG and WAV files; test pairs are of MNIST's test writers and of takes 0 to 4 of each speaker, which
no training pair has. The pairing uses the labels, so that this shows what the methods make of pairs, not that pairs
come free of labels. `embedding` and `contrastive` are measured by retrieval in all four directions, beside the
untrained encoder and chance, and by whether a picture and a sound match (at best 95 %: a tenth of the wrong pairs are
of the same digit). `localization` sees three digits on a canvas and hears one: how often the peak of its map lies in
that digit's box, beside a random place, a random digit, the middle of the canvas and its brightest place. `clips` is
a smoke run on people talking. Results go to benchmarks/results/audiovisual.
"""

import argparse
import csv
import itertools
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold
from withhold import data, views

Measured = tuple[dict, withhold.Run, data.Samples]
"""What was found, by which run, and the pairs to draw it on."""
TEST_TAKES = range(5)
TRAIN, TEST = 6000, 300  # every test recording once
CANVAS, DIGITS, SIDE = 64, 3, 28  # a canvas of 64 pixels with three digits of 28
SECONDS = 0.5


def recordings(source: Path) -> dict[str, dict[int, list[bytes]]]:
    """The WAV files of every digit, of the training and the test takes."""
    found: dict[str, dict[int, list[bytes]]] = {part: {d: [] for d in range(10)} for part in ("train", "test")}
    with zipfile.ZipFile(source / "fsdd" / "recordings.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".wav"):
                digit, _, take = Path(name).stem.split("_")
                part = "test" if int(take) in TEST_TAKES else "train"
                found[part][int(digit)].append(archive.read(name))
    return found


def write_pairs(source: Path, folder: Path, part: str, count: int, seed: int, digits: int = 1) -> np.ndarray:
    """Write `count` pairs and their manifest; gives the upper left corner of each pair's spoken digit, int [n, 2]."""
    rng = np.random.default_rng([seed, part == "test"])
    pictures = data.load(f"{source / 'mnist'}::{part}", size=28)
    of_digit = [np.flatnonzero(pictures.labels == digit) for digit in range(10)]
    spoken = recordings(source)[part]
    target = folder / part
    target.mkdir(parents=True)
    takes = {digit: itertools.cycle(rng.permutation(len(sounds)).tolist()) for digit, sounds in spoken.items()}
    for digit, sounds in spoken.items():
        for take, sound in enumerate(sounds):
            (target / f"{digit}-{take}.wav").write_bytes(sound)
    rows, corners = [], np.zeros((count, 2), dtype=np.int64)
    for item in range(count):
        spoken_digit = item % 10
        others = rng.permutation(np.delete(np.arange(10), spoken_digit))
        shown = [spoken_digit, *others[: digits - 1]]
        chosen = [pictures.read(rng.choice(of_digit[digit])[None])[0, :, :, 0] for digit in shown]
        if digits == 1:
            image = chosen[0]
        else:
            image = np.zeros((CANVAS, CANVAS), np.uint8)
            places = zip(rng.permutation(4), chosen, strict=False)
            for place, (quarter, digit) in enumerate(places):
                left, top = np.array(divmod(quarter, 2)) * CANVAS // 2 + rng.integers(0, CANVAS // 2 - SIDE + 1, 2)
                image[top : top + SIDE, left : left + SIDE] = digit
                if place == 0:
                    corners[item] = left, top
        Image.fromarray(image).save(target / f"{item}.png")
        rows.append((f"{item}.png", f"{spoken_digit}-{next(takes[spoken_digit])}.wav", spoken_digit))
    with open(target / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "sound", "label"), *rows])
    return corners


def matched(run: withhold.Run, pairs: data.Joined) -> float:
    """How often the method says rightly whether a picture and a sound match, over as many right pairs as wrong ones."""
    method, right = run.method, []
    method.seed(0)
    with torch.inference_mode():
        for part in np.array_split(np.arange(len(pairs)), 10):
            visible, withheld = method.hide({"clips": pairs.batch(part)})
            right.append(method.loss(method.predict(visible), withheld)["accuracy"].item())
    return float(np.mean(right))


def embedding(source: Path, folder: Path, minutes: float, seed: int, objective: str) -> Measured:
    for part, count in (("train", TRAIN), ("test", TEST)):
        write_pairs(source, folder, part, count, seed)
    run = withhold.train(
        "audiovisual_embedding", str(folder / "train" / "pairs.csv"), minutes=minutes, seed=seed, out=folder / "run",
        objective=objective, flip=0.0, seconds=SECONDS,
    )  # fmt: skip
    train, test = (run.load_data(str(folder / part / "pairs.csv")) for part in ("train", "test"))
    rows = run.evaluate(train, test, protocols=("crossmodal",))
    alone = {
        half: run.evaluate(train.of(kind), test.of(kind), protocols=("linear",))
        for half, kind in (("picture", "video"), ("sound", "audio"))
    }
    found = {"results": rows, "linear": alone, "training": run.config["outcome"]}
    return found | ({"match_accuracy": matched(run, test)} if objective == "distance" else {}), run, test


def pointing(peaks: np.ndarray, corners: np.ndarray) -> float:
    """The share of peaks [n, 2] in pixels that lie inside the boxes at `corners` [n, 2]."""
    return float(((peaks >= corners) & (peaks < corners + SIDE)).all(1).mean())


def peaks_of(maps: Tensor) -> np.ndarray:
    """Maps [n, h, w] -> where on the canvas their largest values are, (x, y) in pixels [n, 2]."""
    y, x = divmod(maps.flatten(1).argmax(1).numpy(), maps.shape[2])
    return (np.stack([x, y], 1) + 0.5) * CANVAS / maps.shape[2]


def localization(source: Path, folder: Path, minutes: float, seed: int) -> Measured:
    corners = [write_pairs(source, folder, part, n, seed, DIGITS) for part, n in (("train", TRAIN), ("test", TEST))][1]
    run = withhold.train(
        "audiovisual_localization", str(folder / "train" / "pairs.csv"), minutes=minutes, seed=seed,
        out=folder / "run", size=CANVAS, flip=0.0, seconds=SECONDS,
    )  # fmt: skip
    test = run.load_data(str(folder / "test" / "pairs.csv"))
    method, maps, others, bright, silent = run.method, [], [], [], []
    with torch.inference_mode():
        for part in np.array_split(np.arange(len(test)), 10):
            seen, heard = views.to_float(test.batch(part))
            places, sounds = method.predict((seen, heard))
            maps.append(method.maps(places, sounds)[:, 0])
            others.append(method.maps(places, sounds.roll(1, 0))[:, 0])
            bright.append(F.avg_pool2d(seen[:, 0].mean(1), 9, 1, 4))
            _, silence = method.predict((seen, torch.zeros_like(heard)))
            silent.append(method.judge(places, silence).diagonal() > 0)
    peaks, moved = peaks_of(torch.cat(maps)), peaks_of(torch.cat(others))
    middle = np.full((len(test), 2), CANVAS / 2)
    found = {
        "pointing": pointing(peaks, corners),
        "random place": (SIDE / CANVAS) ** 2,
        "random digit": 1 / DIGITS,
        "middle": pointing(middle, corners),
        "brightest": pointing(peaks_of(torch.cat(bright)), corners),
        "with another's sound": pointing(moved, corners),
        "silence taken for a match": torch.cat(silent).float().mean().item(),
        "match_accuracy": matched(run, test),
        "training": run.config["outcome"],
    }
    return found, run, test


def clips(source: Path, folder: Path, minutes: float, seed: int) -> Measured:
    run = withhold.train(
        "audiovisual_embedding", str(source / "av-clips"), minutes=minutes, seed=seed, out=folder / "run"
    )
    pairs = run.load_data(str(source / "av-clips"))
    found = {"training": run.config["outcome"], "journal": run.rows()[-1], "embedded": run.embed(pairs).num_rows}
    return found, run, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("claim", choices=["embedding", "contrastive", "localization", "clips"])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = cpu_minutes()
    with tempfile.TemporaryDirectory() as name:
        given = (options.data, Path(name), options.minutes, options.seed)
        if options.claim == "clips":
            found, run, shown = clips(*given)
        elif options.claim == "localization":
            found, run, shown = localization(*given)
        else:
            found, run, shown = embedding(*given, "distance" if options.claim == "embedding" else "contrastive")
        found |= {"claim": options.claim, "seed": options.seed, "cpu_minutes": round(cpu_minutes() - began, 2)}
        print(record(f"audiovisual/{options.claim}-{options.seed}", found, run, shown))
    for row in found.get("results", []):
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    print({key: value for key, value in found.items() if key not in ("results", "linear", "training")})


if __name__ == "__main__":
    main()
