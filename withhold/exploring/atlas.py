"""The map: a place in the plane for each item, near to what is like it."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

log = logging.getLogger("withhold")

FEWEST = 50
"""Items for t-SNE."""
NEIGHBOURS = 5
"""Items of the map among which a new one is put."""
KEPT = 0.5
"""Share of the items that an older map has to know, to be gone on with."""


class Axes(NamedTuple):
    """Principal axes of directions: mean [d], axes [d, k]."""

    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, features: Tensor, most: int, seed: int = 0) -> "Axes":
        """The first `most` of features [n, d], or fewer.

        Source: Halko, Martinsson & Tropp, SIAM Review 2011, by which the largest of many are found.
        """
        unit = F.normalize(features, dim=1)
        mean = unit.mean(0)
        count = min(most, *unit.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, _, axes = torch.svd_lowrank(unit - mean, q=min(count + 10, *unit.shape), niter=3)
        return cls(mean, axes[:, :count])

    def __call__(self, features: Tensor) -> Tensor:
        """Features [n, d] -> the components of their directions, float32 [n, k]."""
        return (F.normalize(features, dim=1) - self.mean) @ self.axes


def plane(parts: Tensor) -> np.ndarray:
    """The first two of principal components [n, k] as places, float32 [n, 2] within [-1, 1]."""
    places = np.zeros((len(parts), 2), dtype=np.float32)
    places[:, : min(2, parts.shape[1])] = parts[:, :2].numpy()
    return _framed(places)


def embed(parts: Tensor, start: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Principal components [n, k] -> places by t-SNE, float32 [n, 2] within [-1, 1], from places to `start` with.

    None where openTSNE is not installed, or there are too few items for it.

    Source: van der Maaten & Hinton, JMLR 2008; Linderman, Rachh, Hoskins, Steinerberger & Kluger, Nature Methods 2019.
    """
    try:
        from openTSNE import TSNE
    except ImportError:
        log.info("the map shows two principal components: for t-SNE, pip install 'withhold[explore]'")
        return None
    if len(parts) < FEWEST or start.std() < 1e-9:
        return None
    begin = start.astype(np.float64) / start[:, 0].std().clip(1e-12) * 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tsne = TSNE(
            perplexity=min(30, len(parts) / 4), initialization=begin, random_state=seed, n_jobs=torch.get_num_threads()
        )
        return _framed(np.asarray(tsne.fit(parts.numpy()), dtype=np.float32))


def place(parts: Tensor, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Put items that a map lacks among those that it has: at the mean of the five nearest, weighted by nearness.

    Args:
        parts: principal components of all items [n, k].
        known: whether the map has an item, bool [n].
        places: of those that it has [n, 2]; the others' do not matter.
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
    """The places that a file has for these items, and for those that it lacks the ones among them; None of too few.

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
    """Write places to a file, as `kept` reads them."""
    from withhold.files import writing

    with writing(path) as partial, open(partial, "wb") as file:
        np.savez(file, names=np.array([name.encode("utf-8", "surrogatepass") for name in names]), places=places)


def _framed(places: np.ndarray) -> np.ndarray:
    """Places moved and scaled into [-1, 1], with the shape that they have."""
    middle = (places.max(0) + places.min(0)) / 2
    reach = np.abs(places - middle).max()
    return ((places - middle) / (reach or 1)).astype(np.float32)
