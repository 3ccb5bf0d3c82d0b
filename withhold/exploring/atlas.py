"""The map: a position in the plane for each item, close to similar items."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

log = logging.getLogger("withhold")

ASKED = 10
"""Iterations of t-SNE after which it asks whether to end."""
FEWEST = 50
"""Fewest items for t-SNE."""
NEIGHBOURS = 5
"""Neighbours on the map that determine the position of a new item."""
KEPT = 0.5
"""Smallest share of the items that a saved map must have to be reused."""


class Axes(NamedTuple):
    """Principal axes of normalised features: mean [d], axes [d, k]."""

    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, features: Tensor, most: int, seed: int = 0) -> "Axes":
        """The first `most` axes of features [n, d], or fewer, by a randomised SVD.

        Source: Halko, Martinsson & Tropp, SIAM Review 2011.
        """
        unit = F.normalize(features, dim=1)
        mean = unit.mean(0)
        count = min(most, *unit.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, _, axes = torch.svd_lowrank(unit - mean, q=min(count + 10, *unit.shape), niter=3)
        return cls(mean, axes[:, :count])

    def __call__(self, features: Tensor) -> Tensor:
        """Features [n, d] -> principal components of the normalised features, float32 [n, k]."""
        return (F.normalize(features, dim=1) - self.mean) @ self.axes


def plane(parts: Tensor) -> np.ndarray:
    """The first two principal components of [n, k] as positions, float32 [n, 2] in [-1, 1]."""
    places = np.zeros((len(parts), 2), dtype=np.float32)
    places[:, : min(2, parts.shape[1])] = parts[:, :2].numpy()
    return _framed(places)


def embed(
    parts: Tensor, start: np.ndarray, seed: int = 0, ended: Callable[[], bool] = lambda: False
) -> np.ndarray | None:
    """Principal components [n, k] -> positions by t-SNE, float32 [n, 2] in [-1, 1], initialised with `start`.

    None if openTSNE is not installed or there are too few items. It ends early, with the positions that it has, as soon
    as `ended` returns True.

    Source: van der Maaten & Hinton, JMLR 2008; Linderman, Rachh, Hoskins, Steinerberger & Kluger, Nature Methods 2019.
    """
    try:
        from openTSNE import TSNE
    except ImportError:
        log.info("the map shows two principal components; for t-SNE, run pip install 'withhold[explore]'")
        return None
    if len(parts) < FEWEST or start.std() < 1e-9:
        return None
    begin = start.astype(np.float64) / start[:, 0].std().clip(1e-12) * 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tsne = TSNE(
            perplexity=min(30, len(parts) / 4), initialization=begin, random_state=seed,
            n_jobs=torch.get_num_threads(), callbacks=lambda *_: ended(), callbacks_every_iters=ASKED,
        )  # fmt: skip
        return _framed(np.asarray(tsne.fit(parts.numpy()), dtype=np.float32))


def place(parts: Tensor, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Place new items on a map, each at the mean of its five nearest neighbours, weighted by inverse distance.

    Args:
        parts: principal components of all items [n, k].
        known: whether the map has the item, bool [n].
        places: positions [n, 2]; those of new items are ignored.
    """
    new = np.flatnonzero(~known)
    if not len(new):
        return places
    from sklearn.neighbors import NearestNeighbors

    x = parts.numpy()
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, int(known.sum()))).fit(x[known])
    distances, rows = near.kneighbors(x[new])
    weights = 1 / (distances + 1e-9)
    found = places.copy()
    found[new] = (places[known][rows] * (weights / weights.sum(1, keepdims=True))[..., None]).sum(1)
    return found


def kept(path: Path, names: Sequence[str], parts: Tensor) -> np.ndarray | None:
    """The positions of these items in a saved map; new items are placed among them. None if it has too few of them.

    Raises: as `numpy.load`.
    """
    with np.load(path, allow_pickle=False) as file:
        old = dict(zip(file["names"].tolist(), file["places"], strict=True))
    known = np.array([name.encode("utf-8", "surrogatepass") in old for name in names])
    if known.mean() < KEPT:
        return None
    places = np.zeros((len(names), 2), dtype=np.float32)
    places[known] = [old[name.encode("utf-8", "surrogatepass")] for name in np.array(names, dtype=object)[known]]
    return place(parts, known, places)


def keep(path: Path, names: Sequence[str], places: np.ndarray) -> None:
    """Write positions to a file, as `kept` reads them."""
    from withhold.files import writing

    with writing(path) as partial, open(partial, "wb") as file:
        np.savez(file, names=np.array([name.encode("utf-8", "surrogatepass") for name in names]), places=places)


def _framed(places: np.ndarray) -> np.ndarray:
    """Positions shifted and scaled into [-1, 1], with the aspect ratio kept."""
    middle = (places.max(0) + places.min(0)) / 2
    reach = np.abs(places - middle).max()
    return ((places - middle) / (reach or 1)).astype(np.float32)
