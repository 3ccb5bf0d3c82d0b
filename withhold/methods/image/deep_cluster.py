"""DeepCluster."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, ImageEncoder, Method, Optimizer, Several, accuracy, method
from withhold.orders import Balanced


@method(paper="Caron, Bojanowski, Joulin & Douze, ECCV 2018", needs={"images": "image + number"}, family="cluster")
class DeepCluster(Method):
    """Withholds the cluster of an image, by the network's own features; predicts it from a view of the image.

    The features of all unaugmented images are clustered by k-means, and clustered again after as many steps as an epoch
    has in batches of 256, but at least 100. Cluster numbers change with each clustering, so the head is initialised
    again as well, and losses before and after are not comparable. There are two shortcuts. One is to put all images
    into one cluster: batches are therefore balanced over clusters, and an empty cluster takes half of the largest one.
    The other is to cluster by colour: views therefore have colour jitter, and some are grey; the paper shows only edges
    instead (Sobel filters).

    "largest" is the share of the largest cluster. "agreement" is the normalised mutual information of the clusters with
    the previous ones; it rises as they converge.

    Args:
        clusters: number of clusters; the paper uses ten times the number of classes.
        components: principal components of the features that are clustered, whitened and scaled to length 1; at most
            one for every ten images, because with more all images would be equally far apart.
    """

    order = {"images": Balanced("assigned")}
    optimizer = Optimizer(schedule="constant")
    assigned: Tensor

    def __init__(self, encoder: ImageEncoder, clusters: Several = 100, components: Count = 64):
        super().__init__(encoder)
        self.components = components
        self.head = nn.Linear(encoder.dim, clusters)
        self.register_buffer("assigned", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("trivial", torch.zeros(()))
        self.register_buffer("largest", torch.zeros(()))
        self.register_buffer("agreement", torch.zeros(()))

    @property
    def refresh(self):
        """Number of steps of an epoch in batches of 256, at least 100."""
        return max(100, len(self.assigned) // 256)

    def prepare(self, images):
        """Cluster all images, and initialise the head again."""
        from sklearn.metrics import normalized_mutual_info_score

        device, seed = self.head.weight.device, self.rng.initial_seed() % 2**32
        features = nets.features(self.encoder, images, device=device)
        found = cluster(features, self.components, self.head.out_features, seed)
        if len(self.assigned):
            self.agreement.fill_(normalized_mutual_info_score(self.assigned.cpu(), found))
        self.trivial.fill_(math.log(len(found.unique())))
        self.largest.fill_(found.bincount().max() / len(found))
        self.assigned.resize_(len(found)).copy_(found)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and their numbers [n] -> views float [n, c, size, size], their clusters [n]."""
        images, numbers = images
        seen = views.augment(
            images, self.rng, size=self.encoder.size, crop=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grey=0.2
        )
        return seen, self.assigned[numbers]

    def predict(self, seen):
        """Return the scores of the clusters. With few images, there are fewer clusters than outputs of the head."""
        return self.head(self.encoder(seen))[:, : len(self.assigned)]

    def loss(self, scores, clusters):
        return {
            "loss": F.cross_entropy(scores, clusters),
            "accuracy": accuracy(scores, clusters),
            "largest": self.largest,
            "agreement": self.agreement,
            "trivial": self.trivial,
        }

    def picture(self, seen, clusters, scores=None):
        columns = {"seen": seen, "true": [f"cluster {k}" for k in clusters.tolist()]}
        if scores is not None:
            columns["said"] = [f"cluster {k}" for k in scores.argmax(1).tolist()]
        return columns


def cluster(features: Tensor, components: int, clusters: int, seed: int) -> Tensor:
    """Features [n, d] -> the cluster of each, int64 [n]. If there are fewer images than clusters, each has its own."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA

    n, d = features.shape
    components = min(components, d, n, max(2, n // 10))
    kept = PCA(components, whiten=True, random_state=seed).fit_transform(features.numpy())
    points = F.normalize(torch.from_numpy(kept), dim=1)
    clusters = min(clusters, n)
    kmeans = MiniBatchKMeans(clusters, batch_size=max(1024, 4 * clusters), n_init=1, random_state=seed)
    return fill(points, torch.from_numpy(kmeans.fit_predict(points.numpy())).long(), clusters)


def fill(points: Tensor, assigned: Tensor, clusters: int) -> Tensor:
    """Give each empty cluster half of the largest divisible one: clusters int64 [n] of `points` [n, d] -> clusters.

    A cluster is divided at the median of the coordinate with the largest variance. A cluster of identical points is not
    divisible.
    """
    assigned = assigned.clone()
    for empty in (assigned.bincount(minlength=clusters) == 0).nonzero().flatten().tolist():
        for largest in assigned.bincount(minlength=clusters).argsort(descending=True, stable=True).tolist():
            members = (assigned == largest).nonzero().flatten()
            if len(members) < 2:
                break
            column = points[members, points[members].var(0).argmax()]
            beyond = column > column.median()
            beyond = beyond if beyond.any() else column == column.max()  # more than half of them equal the maximum
            if not beyond.all():
                assigned[members[beyond]] = empty
                break
    return assigned
