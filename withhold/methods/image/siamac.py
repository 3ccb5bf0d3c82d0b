"""SiaMAC."""

import logging
import time
from typing import Annotated, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.console import counted, duration
from withhold.errors import UsageError
from withhold.methods import ImageEncoder, Method, Optimizer, Range, method
from withhold.nets.pooling import POOLINGS, gem
from withhold.orders import Tuples
from withhold.views.matching import same_place

log = logging.getLogger("withhold")

NEGATIVES, CANDIDATES, MOST, CHUNK = 5, 10, 2000, 1024
"""Negatives per query; nearest images that are verified for each image; queries per mining, as in the paper; and
descriptors that are compared with all others at once."""


@method(paper="Radenovic, Tolias & Chum, ECCV 2016", needs={"images": "image + number"}, family="contrast")
class Siamac(Method):
    """Withholds which of six images shows the same place as a query image; predicts it from descriptors.

    Matching places are verified without labels: SIFT features of two images match, and one homography maps a dozen or
    more of them. Positives are hard where the viewpoint has changed. Images linked by such pairs form one place.
    The negatives of a query are the images of other places with the nearest descriptors, one per place; they are mined
    again after each pass over the queries. Candidate pairs are each image's ten nearest images by the initial encoder,
    where the paper uses a bag of visual words and a reconstruction of the scene. They are verified once.

    At the end, a whitening of the descriptors is learned from the verified pairs. Embedding all images in one point
    would minimise the distance of positives; negatives prevent it. Images without a verified pair are never queries.
    Two images of one place that no chain of verified pairs links are false negatives.

    "found" is the share of queries whose positive is nearer than all negatives. "active" is the share of negatives
    within the margin; at 0, they no longer contribute to learning.

    Args:
        pooling: pooling of the encoder's maps to a descriptor of length 1; the power of GeM is learned.
        margin: distance from which on a negative costs nothing; descriptors are at most 2 apart.
        inliers: minimum number of points that two images of the same place share.
    """

    learns = "found"
    order = {"images": Tuples(size=2 + NEGATIVES)}
    optimizer = Optimizer(lr=1e-4, weight_decay=1e-6)
    batch_size = 5 * (2 + NEGATIVES)
    pairs: torch.Tensor
    places: torch.Tensor
    tuples: torch.Tensor
    mean: torch.Tensor
    projection: torch.Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        pooling: Literal["MAC", "GeM", "R-MAC"] = "MAC",
        margin: Annotated[float, Range(above=0, most=2)] = 0.7,
        inliers: Annotated[int, Range(least=5)] = 12,
    ):
        super().__init__(encoder)
        self.pooling, self.margin, self.inliers = pooling, margin, inliers
        self.power = nn.Parameter(torch.tensor(3.0)) if pooling == "GeM" else None
        self.register_buffer("pairs", torch.zeros(0, 2, dtype=torch.int64))
        self.register_buffer("places", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("tuples", torch.zeros(0, 2 + NEGATIVES, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(encoder.dim))
        self.register_buffer("projection", torch.eye(encoder.dim))

    @property
    def refresh(self):
        """Number of steps of one pass over the tuples in batches of five, at least 20."""
        return max(20, len(self.tuples) // 5)

    def prepare(self, images):
        """Verify pairs, the first time; then mine the negatives of every query."""
        if not len(self.pairs):
            nets.refresh_statistics(self.encoder, nets.batches(images, self.some(len(images), MOST), self.mean.device))
        x = nets.rows(self, self.describe, images, self.mean.device)
        if not len(self.pairs):
            began = time.perf_counter()
            self.verify(images, x)
            self.once = time.perf_counter() - began
            said = counted(len(self.pairs), "pair"), len(self.places.unique()), duration(self.once)
            log.info("matched images once: %s with shared points, from %s places, in %s", *said)
        rng = np.random.default_rng(self.rng.initial_seed() % 2**32)
        queries, others = (
            torch.cat([self.pairs, self.pairs.flip(1)]).cpu().numpy()[rng.permutation(2 * len(self.pairs))].T
        )
        queries, first = np.unique(queries, return_index=True)  # each with a random match
        chosen = np.sort(rng.permutation(len(queries))[:MOST])
        negatives = hard_negatives(x, queries[chosen], self.places.cpu().numpy())
        tuples = np.concatenate([np.stack([queries, others[first]], 1)[chosen], negatives], axis=1)
        self.tuples.resize_(tuples.shape).copy_(torch.from_numpy(tuples))

    def conclude(self, images):
        """Learn the whitening of the final descriptors."""
        x = nets.rows(self, self.describe, images, self.mean.device)
        mean, projection = nets.pair_whitening(x, *self.pairs.cpu().T)
        self.mean.copy_(mean)
        self.projection.copy_(projection)

    def verify(self, images, x):
        """Find the pairs among each image's nearest images, and the places that they form."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        near = torch.cat([(rows @ x.T).topk(min(CANDIDATES + 1, len(x))).indices for rows in x.split(CHUNK)])
        asked = torch.stack([torch.arange(len(x))[:, None].expand_as(near), near], dim=2).flatten(0, 1)
        asked = asked[asked[:, 0] != asked[:, 1]].sort(1).values.unique(dim=0).tolist()
        found = same_place((images.batch([row])[0] for row in range(len(x))), asked, self.inliers)
        links = np.array(found).reshape(-1, 2)
        count, places = connected_components(coo_array((np.ones(len(links)), links.T), shape=(len(x), len(x))))
        if not found or count < 2:
            raise UsageError(
                f"siamac found {len(found)} pairs of images that share {self.inliers} points, and {count} places among "
                f"{len(x)} images. Give several images of each of several places, larger images, or fewer inliers."
            )
        self.pairs.resize_(links.shape).copy_(torch.from_numpy(links))
        self.places.resize_(len(x)).copy_(torch.from_numpy(places))

    def withhold(self, images):
        """uint8 [7n, c, h, w], numbers -> images float; which of six others shows the place of the first [n, 6]."""
        images, numbers = images
        query, *others = self.places[numbers].view(-1, 2 + NEGATIVES).T
        return views.to_float(images), torch.stack(others, 1) == query[:, None]

    def predict(self, seen):
        return self.describe(seen)

    def describe(self, images):
        """Images float [n, c, h, w] -> descriptors [n, d] of length 1."""
        maps = self.encoder.maps(images)
        return F.normalize(POOLINGS[self.pooling](maps) if self.power is None else gem(maps, self.power), dim=1)

    def loss(self, descriptors, same):
        """Half of `losses.pair_distance`, summed over the pairs of a query and averaged over queries.

        "trivial" is the loss if all descriptors are noise, at the distance from each other that costs least.
        """
        query, others = descriptors.unflatten(0, (len(same), -1)).split([1, same.shape[1]], dim=1)
        distances = (query - others).norm(dim=2)
        first, second = (x.expand_as(others).flatten(0, 1) * x.shape[2] ** 0.5 for x in (query, others))
        return {
            "loss": same.shape[1] / 2 * losses.pair_distance(first, second, same.flatten(), self.margin),
            "found": (distances.argmin(1) == 0).float().mean(),
            "active": ((distances < self.margin) & ~same).sum() / (~same).sum(),
            "trivial": NEGATIVES / (NEGATIVES + 1) / 2 * self.margin**2,
        }

    def says(self):
        """Whitened descriptors of length 1; nothing before a whitening was learned."""
        if not len(self.pairs):
            return {}
        return {"descriptor": lambda items: F.normalize((self.describe(items) - self.mean) @ self.projection, dim=1)}

    def picture(self, seen, same, descriptors=None):
        """A query, its positive, its hardest negative, and the nearest of the six."""
        query, positive, *negatives = seen.unflatten(0, (len(same), -1)).unbind(1)
        columns = {"seen": query, "true": positive, "hardest": negatives[0]}
        if descriptors is None:
            return columns
        own, *others = descriptors.unflatten(0, (len(same), -1)).unbind(1)
        nearest = torch.stack([(own - other).norm(dim=1) for other in others], 1).argmin(1)
        return columns | {"said": torch.stack([positive, *negatives], 1)[torch.arange(len(own)), nearest]}


def hard_negatives(x: torch.Tensor, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For queries [m], rows of descriptors [n, d]: the five nearest images of other places, as rows [m, 5].

    Each is from a different place, if there are enough places.
    """
    found = []
    distances = (row for part in x[queries].split(CHUNK) for row in torch.cdist(part, x).numpy())
    for query, row in zip(queries, distances, strict=True):
        order = np.argsort(row, kind="stable")
        order = order[places[order] != places[query]]
        grouped = np.argsort(places[order], kind="stable")
        counts = np.unique(places[order], return_counts=True)[1]
        before = np.empty(len(order), int)  # number of nearer images of the same place
        before[grouped] = np.concatenate([np.arange(count) for count in counts])
        found.append(np.resize(order[np.argsort(before, kind="stable")], NEGATIVES))
    return np.stack(found)
