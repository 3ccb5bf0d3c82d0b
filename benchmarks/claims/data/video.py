"""Videos, and generated clips."""

from pathlib import Path

import numpy as np
from claims.data.place import Place, Split
from claims.moving_mnist import clips

from withhold import data
from withhold.data import Samples


def moving_mnist(at: Place) -> Split:
    """5,000 clips of the training digits and 500 of the test digits, uint8 [n, 20, 64, 64]."""
    made = []
    for place, (part, count) in enumerate((("train", 5000), ("test", 500))):
        digits = data.load(f"{at.root / 'mnist'}::{part}", size=28).array[..., 0]
        made.append(clips(digits, at.some(count), 2 * at.seed + place)[0])
    return Split((made[0],), made[0], made[1], {"flip": 0.0}, (made[1],))


def videos(at: Place, name: str, frames: int = 0) -> Split:
    """Fights in fight-surv, split by location; words in miracl-lips, split by speaker.

    Args:
        frames: length of clips; 0 for the default of the dataset.
    """
    settings = {"size": 48, "frames": frames or {"fight-surv": 16, "miracl-lips": 12}[name], "fps": 15.0}
    samples = data.load(at.root / name, "video", **settings)
    speakers = [Path(path).name.split("_")[0] for path in samples.names]
    groups = _places(samples) if name == "fight-surv" else np.unique(speakers, return_inverse=True)[1]
    order = np.random.default_rng(at.seed).permutation(np.unique(groups))
    ends = np.cumsum([(groups == group).sum() for group in order])
    asked = np.isin(groups, order[ends <= len(groups) / 3])  # whole groups, until they are a third
    train, test = samples.select(np.flatnonzero(~asked)), samples.select(np.flatnonzero(asked))
    return Split((train,), train, test, settings, (test,))


def _places(samples: Samples) -> np.ndarray:
    """The number of each video's location: the same for videos whose median frames are alike, also transitively."""
    thumbs = []
    for item in range(len(samples)):
        middle = np.median(samples.whole(item).astype(np.float32), axis=0).mean(2)
        side = len(middle) // 3
        thumb = middle[: 3 * side, : 3 * side].reshape(side, 3, side, 3).mean((1, 3)).ravel()
        thumbs.append((thumb - thumb.mean()) / max(thumb.std(), 1e-6))
    alike = np.stack(thumbs) @ np.stack(thumbs).T / len(thumbs[0]) > 0.9
    group = np.arange(len(samples))
    while True:  # each takes the smallest number among its likes, until none changes
        smallest = np.where(alike, group[None], len(group)).min(1)
        if (smallest == group).all():
            return group
        group = smallest


def sequences(at: Place, name: str) -> Split:
    """Videos for training without masks, and DAVIS with masks for testing; for "davis" the frames are the same."""
    folder, fps = {"davis": ("davis/images", 12.0), "fight-surv": ("fight-surv", 6.0)}[name]
    return Split((at.root / folder,), test=at.root / "davis", settings={"size": 128, "fps": fps})
