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

NEGATIVES, CANDIDATES, MOST = 5, 10, 2000
"""Of a query; images nearest to one that are verified; and queries from one mining to the next, as in the paper."""


@method(paper="Radenovic, Tolias & Chum, ECCV 2016", needs={"images": "image + number"}, family="contrast")
class Siamac(Method):
    """Withholds which of six images shows the same place as another one; predicts it from descriptors.

    What is the same place is verified without labels: SIFT features of two images match, and one homography carries a
    dozen or more of them over. So positives are hard where the view has changed. What is linked by such pairs is one
    place. Negatives are the images of other places whose descriptors are nearest, one each, and they are found anew
    after as many steps as there are queries. Pairs are looked for among an image's ten nearest ones by the encoder as
    it starts, where the paper takes a bag of visual words and a reconstruction of the scene; they are verified once.

    From the same pairs a whitening of the descriptors is learned, with the negatives. To embed all images in one point
    makes positives as near as can be, against which the negatives stand; images that nothing was verified of are never
    queries. Two images of one place between which no pair is verified are false negatives.

    Beside the loss stand "found", the share of queries whose positive is nearer than all negatives, and "active", the
    share of negatives within the margin: at 0 nothing is learned from them any more.

    Args:
        pooling: of the encoder's maps, to a descriptor of length 1; of GeM the power is learned.
        margin: from which distance on a negative costs nothing; descriptors are up to 2 apart.
        inliers: points that two images share at least, to show the same place.
    """

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
        """As many steps as the tuples fill batches of five."""
        return max(20, len(self.tuples) // 5)

    def prepare(self, images):
        """Verify pairs, the first time; then for every query its negatives, and the whitening."""
        with nets.frozen(self):
            x = nets.rows(self, self.describe, images, self.mean.device)
        if not len(self.pairs):
            began = time.perf_counter()
            self.verify(images, x)
            self.once = time.perf_counter() - began
            said = counted(len(self.pairs), "pair"), len(self.places.unique()), duration(self.once)
            log.info("matching, once: %s of images that share points, of %s places, found in %s", *said)
        rng = np.random.default_rng(self.rng.initial_seed() % 2**32)
        queries, others = (
            torch.cat([self.pairs, self.pairs.flip(1)]).cpu().numpy()[rng.permutation(2 * len(self.pairs))].T
        )
        queries, first = np.unique(queries, return_index=True)  # each with a random one of those that it matches
        chosen = np.sort(rng.permutation(len(queries))[:MOST])
        negatives = hard_negatives(x, queries[chosen], self.places.cpu().numpy())
        tuples = np.concatenate([np.stack([queries, others[first]], 1)[chosen], negatives], axis=1)
        self.tuples.resize_(tuples.shape).copy_(torch.from_numpy(tuples))
        for buffer, found in zip(
            (self.mean, self.projection), nets.pair_whitening(x, *self.pairs.cpu().T), strict=True
        ):
            buffer.copy_(found)

    def verify(self, images, x):
        """Find the pairs among each image's nearest ones, and the places that these make up."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        near = (x @ x.T).fill_diagonal_(-2).topk(min(CANDIDATES, len(x) - 1)).indices
        asked = torch.stack([torch.arange(len(x))[:, None].expand_as(near), near], dim=2).flatten(0, 1)
        asked = asked.sort(1).values.unique(dim=0).tolist()
        found = same_place((images.batch([row])[0] for row in range(len(x))), asked, self.inliers)
        links = np.array(found).reshape(-1, 2)
        count, places = connected_components(coo_array((np.ones(len(links)), links.T), shape=(len(x), len(x))))
        if not found or count < 2:
            raise UsageError(
                f"siamac found {len(found)} pairs of images that share {self.inliers} points, and {count} places among "
                f"{len(x)} images: give images of several places, and more than one of each; larger, or with fewer "
                "inliers."
            )
        self.pairs.resize_(links.shape).copy_(torch.from_numpy(links))
        self.places.resize_(len(x)).copy_(torch.from_numpy(places))

    def withhold(self, images):
        """Images uint8 [7n, c, h, w] and their numbers -> images float, which of six shows the first's place [n, 6]."""
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
        """Half of `losses.pair_distance`, summed over a query's pairs, and the mean over queries."""
        query, others = descriptors.unflatten(0, (len(same), -1)).split([1, same.shape[1]], dim=1)
        distances = (query - others).norm(dim=2)
        first, second = (x.expand_as(others).flatten(0, 1) * x.shape[2] ** 0.5 for x in (query, others))
        return {
            "loss": same.shape[1] / 2 * losses.pair_distance(first, second, same.flatten(), self.margin),
            "found": (distances.argmin(1) == 0).float().mean(),
            "active": (distances[~same] < self.margin).float().mean(),
            "trivial": NEGATIVES / 2 * self.margin**2,
        }

    def says(self):
        """The whitened descriptor, of length 1."""
        return {"descriptor": lambda items: F.normalize((self.describe(items) - self.mean) @ self.projection, dim=1)}

    def picture(self, seen, same, descriptors=None):
        """A query, what shows the same place, and what is nearest among the six."""
        query, positive, *negatives = seen.unflatten(0, (len(same), -1)).unbind(1)
        columns = {"seen": query, "true": positive, "hardest": negatives[0]}
        if descriptors is None:
            return columns
        own, *others = descriptors.unflatten(0, (len(same), -1)).unbind(1)
        nearest = torch.stack([(own - other).norm(dim=1) for other in others], 1).argmin(1)
        return columns | {"said": torch.stack([positive, *negatives], 1)[torch.arange(len(own)), nearest]}


def hard_negatives(x: torch.Tensor, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For each of the queries [m], rows of descriptors [n, d], the five nearest of other places: rows [m, 5].

    Each is of another place, as long as there are places.
    """
    found = []
    for query, row in zip(queries, torch.cdist(x[queries], x).numpy(), strict=True):
        order = np.argsort(row, kind="stable")
        order = order[places[order] != places[query]]
        grouped = np.argsort(places[order], kind="stable")
        counts = np.unique(places[order], return_counts=True)[1]
        before = np.empty(len(order), int)  # how many of its place are nearer than it
        before[grouped] = np.concatenate([np.arange(count) for count in counts])
        found.append(np.resize(order[np.argsort(before, kind="stable")], NEGATIVES))
    return np.stack(found)
