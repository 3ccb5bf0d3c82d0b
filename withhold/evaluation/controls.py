"""What raw data are worth: the control that learns nothing, for each kind of data."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import views
from withhold.data import Joined, Samples, Series
from withhold.evaluation.features import batches, rows
from withhold.nets.sounds import DEVIATION, MEAN

NAMES = {"audio": "spectrogram", "text": "tf-idf"}
"""What the control is called, by the kind of data; "pixels" where it is not listed."""
PIXEL_SIDE = 32
FRAMES, FRAME_SIDE = 4, 16
MOST_WORDS = 5000


def raw(samples: Samples, train: Samples | None = None) -> Tensor:
    """The items themselves as float32 [n, d]; `train` is what TF-IDF may look at, by default the items."""
    if isinstance(samples, Joined):
        return torch.cat([raw(part) for part in samples.members], dim=1)
    if isinstance(samples, Series):
        if samples.kind == "text":
            return tf_idf(samples, train or samples)
        return few_frames(samples) if samples.kind == "video" else bands(samples)
    return pixels(samples)


def pixels(samples: Samples) -> Tensor:
    """Images in [0, 1] as float32 [n, c*h*w], averaged down to 32 px at most."""
    found = []
    for images in batches(samples, torch.arange(len(samples)), "cpu"):
        side = [min(length, PIXEL_SIDE) for length in images.shape[2:]]
        found.append(F.interpolate(images, side, mode="area").flatten(1))
    return torch.cat(found)


def few_frames(videos: Series) -> Tensor:
    """The pixels of a few frames, evenly spread over the whole of a video, in a row at 16 px: [n, 4*c*h*w]."""
    found = []
    for item in range(len(videos)):
        frames = videos.whole(item)
        places = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
        few = views.to_float(torch.from_numpy(frames[places]).permute(0, 3, 1, 2))
        found.append(F.interpolate(few, [min(side, FRAME_SIDE) for side in few.shape[2:]], mode="area").flatten())
    return torch.stack(found)


def bands(sounds: Series) -> Tensor:
    """The mean and the deviation over time of each band of the log-mel spectrogram, [n, 2 * 40]."""

    def statistics(waves: Tensor) -> Tensor:
        spectrogram = (views.log_mel(waves, round(sounds.rate))[:, 0] - MEAN) / DEVIATION
        deviation, mean = torch.std_mean(spectrogram, dim=2)
        return torch.cat([mean, deviation], dim=1)

    return rows(nn.Identity(), statistics, sounds, "cpu")


def tf_idf(texts: Series, train: Any) -> Tensor:
    """How often each token occurs, weighted by how few documents of `train` it occurs in.

    float32 [n, 5000 at most], rows of length 1: the commonest tokens of `train`, as scikit-learn weighs them.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    def counts(documents: Series) -> csr_matrix:
        found = [documents.whole(row) for row in range(len(documents))]
        ends, tokens = np.cumsum([0, *map(len, found)]), np.concatenate(found)
        matrix = csr_matrix((np.ones(len(tokens)), tokens, ends), shape=(len(documents), vocabulary))
        matrix.sum_duplicates()
        return matrix

    vocabulary = 1 + max(int(part.values.max()) for part in (texts, train))
    known = counts(train)
    common = np.sort(np.argsort(-known.sum(0).A1, kind="stable")[:MOST_WORDS])
    weights = TfidfTransformer().fit(known[:, common])
    return torch.from_numpy(weights.transform(counts(texts)[:, common]).toarray()).float()
