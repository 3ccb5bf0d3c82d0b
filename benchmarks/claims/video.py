"""Claims on videos: what follows is predicted better than by what was last seen; order teaches what moves.

    python benchmarks/claims/video.py DATA frame_prediction [--predicts composite] [--conditional] [--seed 0]
    python benchmarks/claims/video.py DATA shuffle_and_learn --on fights | words [--seed 0]

DATA is the folder that holds mnist, fight-surv and miracl-lips. `frame_prediction` learns from Moving MNIST, made of
the training digits (half of 20 frames in, half out), and is measured on clips of the test digits: squared error and
cross-entropy, summed over a frame's pixels, beside an empty frame, the mean image of the training clips and the last
frame that was seen. `shuffle_and_learn` learns from a part of the videos without their labels and is probed on the
others: fights split by where they were filmed, words by who says them; beside it stand its network untrained and raw
frames. About fifteen CPU minutes each: `EPOCHS` fixes it. Results go to benchmarks/results/video.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from moving_mnist import clips
from record import cpu_minutes, record

import withhold
from withhold import data, evaluation
from withhold.data import Samples

CLIPS = {"train": 5000, "test": 500}
EPOCHS = {"frame_prediction": 5, "fights": 50, "words": 25}
FOLDERS = {"fights": "fight-surv", "words": "miracl-lips"}
WINDOWS = {"fights": {"frames": 16, "fps": 15.0}, "words": {"frames": 12, "fps": 15.0}}
DRAWN = {"fights": {"span": 8, "gap": 2}, "words": {"span": 6, "gap": 1}}
SIZE = 48
SAME_PLACE = 0.9
"""The correlation of two clips' median frames from which on they count as filmed in the same place."""


def moving_digits(source: Path, seed: int, share: float) -> dict[str, np.ndarray]:
    """Clips uint8 [n, 20, 64, 64] of the training and of the test digits."""
    found = {}
    for place, (part, count) in enumerate(CLIPS.items()):
        digits = data.load(f"{source / 'mnist'}::{part}", size=28).array[..., 0]
        found[part] = clips(digits, max(64, round(share * count)), 2 * seed + place)[0]
    return found


def errors(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Frames in [0, 1], which broadcast -> both errors, summed over a frame's pixels; shares are 1e-6 at least."""
    share = np.clip(said, 1e-6, 1 - 1e-6)
    entropy = -(true * np.log(share) + (1 - true) * np.log(1 - share))
    return {
        "squared_error": float(((said - true) ** 2).sum((2, 3)).mean()),
        "cross_entropy": float(entropy.sum((2, 3)).mean()),
    }


def frame_prediction(source: Path, predicts: str, conditional: bool, seed: int, share: float) -> None:
    videos = moving_digits(source, seed, share)
    with tempfile.TemporaryDirectory() as folder:
        began = cpu_minutes()
        run = withhold.train(
            "frame_prediction", videos["train"], epochs=EPOCHS["frame_prediction"] * share, seed=seed, batch_size=16,
            out=Path(folder) / "run", predicts=predicts, conditional=conditional, flip=0.0,
        )  # fmt: skip
        minutes = cpu_minutes() - began
        method, said = run.method, []
        with torch.inference_mode():
            for part in torch.from_numpy(videos["test"])[:, :, None].split(50):
                predicted = method.predict(method.hide({"videos": part})[0])
                said.append(predicted["future"][:, :, 0].sigmoid())
        test = videos["test"].astype(np.float32) / 255
        half = test.shape[1] // 2
        true = test[:, half:]
        mean = videos["train"][:, half:].mean((0, 1))[None, None] / 255
        rows = [
            {"predictor": "network", **errors(torch.cat(said).numpy(), true)},
            {"predictor": "last frame", **errors(test[:, half - 1 : half], true)},
            {"predictor": "mean image", **errors(mean, true)},
            {"predictor": "nothing", **errors(np.zeros((1, 1, 1, 1)), true)},
        ]
        name = predicts + ("-conditional" if conditional else "")
        found = {
            "method": "frame_prediction", "seed": seed, "training_cpu_minutes": round(minutes, 2), "results": rows,
            "parameters": run.config["parameters"], "training": run.config["outcome"], "n_test": len(test),
            "n_train": len(videos["train"]), "epochs": EPOCHS["frame_prediction"] * share,
        }  # fmt: skip
        print(f"{minutes:.1f} CPU minutes", *rows, sep="\n", flush=True)
        if share == 1:
            record(f"video/moving-mnist-{name}-{seed}", found, run, videos["test"])


def places(samples: Samples) -> np.ndarray:
    """Where each video was filmed: a number, the same for all whose median frames are alike, directly or by others."""
    thumbs = []
    for item in range(len(samples)):
        middle = np.median(samples.whole(item).astype(np.float32), axis=0).mean(2)
        side = len(middle) // 3
        thumb = middle[: 3 * side, : 3 * side].reshape(side, 3, side, 3).mean((1, 3)).ravel()
        thumbs.append((thumb - thumb.mean()) / max(thumb.std(), 1e-6))
    alike = np.stack(thumbs) @ np.stack(thumbs).T / len(thumbs[0]) > SAME_PLACE
    group = np.arange(len(samples))
    while True:  # each takes the smallest number among its likes, until none changes
        smallest = np.where(alike, group[None], len(group)).min(1)
        if (smallest == group).all():
            return group
        group = smallest


def split(samples: Samples, groups: np.ndarray, seed: int) -> tuple[Samples, Samples]:
    """Whole groups in random order, until the test part has a third of the items."""
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    ends = np.cumsum([(groups == group).sum() for group in order])
    test = np.isin(groups, order[ends <= len(groups) / 3])
    return samples.select(np.flatnonzero(~test)), samples.select(np.flatnonzero(test))


def shuffle_and_learn(source: Path, on: str, seed: int, share: float) -> None:
    samples = data.load(source / FOLDERS[on], "video", size=SIZE, **WINDOWS[on])
    speakers = np.array([Path(name).name.split("_")[0] for name in samples.names])
    groups = places(samples) if on == "fights" else np.unique(speakers, return_inverse=True)[1]
    train, test = split(samples, groups, seed)
    print(f"{len(np.unique(groups))} groups; {len(train)} videos to learn from, {len(test)} to test on", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        began = cpu_minutes()
        run = withhold.train(
            "shuffle_and_learn", train, encoder="convnet", size=SIZE, epochs=EPOCHS[on] * share, seed=seed,
            out=Path(folder) / "run", **DRAWN[on], **WINDOWS[on],
        )  # fmt: skip
        minutes = cpu_minutes() - began
        rows = evaluation.evaluate(
            run.encoder, train, test, ("knn", "linear"), controls={"untrained": run.untrained()}, seed=seed
        )
        labels = test.labels
        found = {
            "method": "shuffle_and_learn", "data": FOLDERS[on], "groups": len(np.unique(groups)), "seed": seed,
            "training_cpu_minutes": round(minutes, 2), "epochs": EPOCHS[on] * share, "results": rows,
            "parameters": run.config["parameters"], "training": run.config["outcome"],
            "chance": float(np.bincount(labels).max() / len(labels)),
        }  # fmt: skip
        shown = {f"{row['encoder']} {row['protocol']}": round(row["value"], 4) for row in rows}
        chance = f"largest class {found['chance']:.3f}"
        print(on, f"{minutes:.1f} CPU minutes", chance, shown, found["training"]["metrics"])
        if share == 1:
            record(f"video/{on}-{seed}", found, run, test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("method", choices=["frame_prediction", "shuffle_and_learn"])
    parser.add_argument("--on", choices=list(FOLDERS), default="fights")
    parser.add_argument("--predicts", choices=["composite", "future"], default="composite")
    parser.add_argument("--conditional", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the training; less than 1 records nothing")
    options = parser.parse_args()
    if options.method == "frame_prediction":
        frame_prediction(options.data, options.predicts, options.conditional, options.seed, options.share)
    else:
        shuffle_and_learn(options.data, options.on, options.seed, options.share)


if __name__ == "__main__":
    main()
