"""From samples to feature vectors: an encoder's, or those that nobody has to learn."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import views
from withhold.data import Samples
from withhold.errors import WithholdError
from withhold.methods import Classifier
from withhold.nets import Encoder

PIXEL_SIDE = 32
MOST_WORDS = 5000
RAW = {"text": "tf-idf"}
"""What the control that learns nothing is called, where it is not "pixels"."""
FRAMES, FRAME_SIDE = 4, 16


def features(
    encoder: nn.Module, samples: Samples, *, device: str | torch.device = "cpu", batch_size: int = 256
) -> Tensor:
    """The encoder's features of every sample, float32 [n, dim] on the CPU, in eval mode and float32 throughout.

    Of an item that is cut into windows they are the mean over these.

    Args:
        encoder: what `views.to_float` gives, such as images float [n, c, h, w] in [0, 1] -> [n, dim]. It is
            moved to `device`; its modes are put back.

    Raises:
        WithholdError: features that are not finite.
    """
    return _rows(encoder, encoder, samples, device, batch_size)


def pooled(
    encoder: Encoder, pool: Callable[[Tensor], Tensor], samples: Samples, *, device: str | torch.device = "cpu"
) -> Tensor:
    """What `pool` makes of the encoder's maps [n, dim, h, w] of every sample, float32 [n, ...] on the CPU, likewise."""
    return _rows(encoder, lambda images: pool(encoder.maps(images)), samples, device)


def scores(classifier: Classifier, samples: Samples, *, device: str | torch.device = "cpu") -> Tensor:
    """The classifier's scores of every sample, float32 [n, k] on the CPU, likewise."""
    return _rows(classifier, classifier.classify, samples, device)


def _rows(
    module: nn.Module,
    function: Callable[[Tensor], Tensor],
    samples: Samples,
    device: str | torch.device,
    batch_size: int = 256,
) -> Tensor:
    module.to(device)
    windows = samples.windows()
    with frozen(module):
        batches = _batches(windows, torch.arange(len(windows)), device, batch_size)
        parts = [function(items).float().cpu() for items in batches]
    rows = torch.cat(parts)  # outside, so that it can be learned on
    if windows is not samples:  # an item's features are the mean over its windows
        owners = torch.from_numpy(windows.owners)
        sums = rows.new_zeros(len(samples), *rows.shape[1:]).index_add_(0, owners, rows)
        rows = sums / owners.bincount(minlength=len(samples)).view(-1, *[1] * (rows.ndim - 1))
    bad = int((~rows.flatten(1).isfinite().all(1)).sum())
    if bad:
        raise WithholdError(
            f"The encoder's features of {bad} of {len(samples)} items are not finite: its training diverged; "
            "train again with a lower --lr."
        )
    return rows


def pixels(samples: Samples) -> Tensor:
    """The control that learns nothing: pixels in [0, 1] as float32 [n, c*h*w], averaged down to 32 px at most.

    Of a video, those of a few frames, evenly spread over the whole of it, in a row at 16 px: [n, 4*c*h*w].
    """
    if samples.kind.startswith("video"):
        videos: Any = samples.of("video")
        return torch.stack([_few_frames(videos.whole(item)) for item in range(len(videos))])
    rows = []
    for images in _batches(samples, torch.arange(len(samples)), "cpu"):
        side = [min(length, PIXEL_SIDE) for length in images.shape[2:]]
        rows.append(F.interpolate(images, side, mode="area").flatten(1))
    return torch.cat(rows)


def tf_idf(samples: Samples, train: Samples) -> Tensor:
    """The same for texts: how often each token occurs, weighted by how few documents of `train` it occurs in.

    float32 [n, 5000 at most], rows of length 1: the commonest tokens of `train`, as scikit-learn weighs them.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    def counts(texts: Any) -> csr_matrix:
        rows = [texts.whole(row) for row in range(len(texts))]
        ends, tokens = np.cumsum([0, *map(len, rows)]), np.concatenate(rows)
        found = csr_matrix((np.ones(len(tokens)), tokens, ends), shape=(len(texts), vocabulary))
        found.sum_duplicates()
        return found

    vocabulary = 1 + max(int(part.values.max()) for part in (samples, train))
    known = counts(train)
    common = np.sort(np.argsort(-known.sum(0).A1, kind="stable")[:MOST_WORDS])
    weights = TfidfTransformer().fit(known[:, common])
    return torch.from_numpy(weights.transform(counts(samples)[:, common]).toarray()).float()


def raw(samples: Samples, train: Samples) -> Tensor:
    """The control that learns nothing, float32 [n, d]; `train` is what it may look at."""
    return tf_idf(samples, train) if samples.kind == "text" else pixels(samples)


def _few_frames(rows: np.ndarray) -> Tensor:
    """A video uint8 [t, h, w, c] -> `FRAMES` of its frames, small, as one row of pixels in [0, 1]."""
    places = np.linspace(0, len(rows) - 1, FRAMES).round().astype(int)
    frames = views.to_float(torch.from_numpy(rows[places]).permute(0, 3, 1, 2))
    return F.interpolate(frames, [min(length, FRAME_SIDE) for length in frames.shape[2:]], mode="area").flatten()


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradient for a while; every part's own mode is put back after."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def plain_batches(samples: Samples, device: str | torch.device, most: int = 2048) -> Iterator[Tensor]:
    """At most `most` random items, or clips with so many frames, as networks take them: for batch statistics."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    return _batches(samples, order[: max(1, most // _images(samples))].sort().values, device)


def _images(samples: Samples) -> int:
    """How many images an item stands for: as many as a clip has frames."""
    return samples.shape[0] if samples.kind.startswith("video") else 1


def _batches(samples: Samples, indices: Tensor, device: str | torch.device, batch_size: int = 256) -> Iterator[Tensor]:
    for part in indices.split(max(1, batch_size // _images(samples))):
        yield views.to_float(samples.batch(part.numpy()).to(device, non_blocking=True))
