"""How well the task of a method without labels is solved, and what its answers say about classes."""

import copy

import numpy as np
import torch
from claims.data import Place, Split
from claims.measures.common import Found
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from torch import Tensor
from torch.nn import functional as F

import withhold
from withhold import methods, views
from withhold.runs.build import build_method
from withhold.training import prepare


def class_agreement(run: withhold.Run, split: Split, at: Place) -> Found:
    """The normalised mutual information of clusters and classes before and after training, and of consecutive clusters.

    The method is given no classes.
    """
    first = methods.find(run.config["method"])(run.untrained(), **run.config["parameters"])
    prepare(first, {"images": split.streams[0]}, at.seed)
    with_classes = {
        name: float(normalized_mutual_info_score(split.train.labels, method.assigned.numpy()))
        for name, method in (("first", first), ("last", run.method))
    }
    before = list(
        dict.fromkeys(row["agreement"] for row in run.rows())
    )  # one value per clustering; rows between repeat it or average
    return {"agreement with classes": with_classes, "agreement with the clusters before": before}


@torch.inference_mode()
def pairs_told(run: withhold.Run, split: Split, at: Place) -> Found:
    """AUROC of pairs of patches of one image against other pairs, and that of mean colours alone."""
    method, test, together = run.method, run.load_data(split.test), []
    scores: dict[str, list[Tensor]] = {"auc": [], "colour_auc": []}
    method.seed(at.seed)
    for part in np.array_split(np.arange(2000), 10):
        visible, answers = method.hide({"images": test.batch(part)})
        first, second = method.pairs(visible[0].mean((3, 4)), visible[1])
        scores["auc"].append(method.predict(visible))
        scores["colour_auc"].append(-(first - second).norm(dim=1))
        together.append(answers)
    return {name: float(roc_auc_score(torch.cat(together), torch.cat(said))) for name, said in scores.items()}


@torch.inference_mode()
def context_used(run: withhold.Run, split: Split, at: Place) -> Found:
    """Accuracy on which removed patch belongs where, with the rest of the image, and with that of another image."""
    method, test = copy.deepcopy(run.method).train(), run.load_data(split.test)  # statistics of patches, not of images
    right: dict[str, list[float]] = {"placed": [], "placed_in_another": []}
    method.seed(at.seed)
    for part in np.array_split(np.arange(2000), 10):
        (patches, holes), answers = method.hide({"images": test.batch(part)})
        image = torch.arange(len(patches))[:, None]
        other = patches.roll(1, 0).index_put((image, holes), patches[image, holes])
        for name, seen in zip(right, (patches, other), strict=True):
            right[name].append(method.loss(method.predict((seen, holes)), answers)["accuracy"].item())
    return {name: float(np.mean(found)) for name, found in right.items()}


PATCHES = 24
"""Number of patches per frame from which pairs are made."""
PURE, UNKNOWN = 0.75, 11
"""The least share of a patch's pixels with its class, and the number of the unlabelled class."""


def objects_told(run: withhold.Run, split: Split, at: Place) -> Found:
    """AUROC of whether two patches of a frame show the same class.

    Scores: the trained affinity, the randomly initialised one, mean colours, and the distance of the patches.
    """
    fresh = build_method(run.cls, run.fresh, run.config["parameters"], run.seed, run.config)
    trained, fresh = run.method.eval(), fresh.eval()
    test, rng = split.test, torch.Generator().manual_seed(at.seed)
    size, tile = trained.encoder.size, trained.tile
    together: list[Tensor] = []
    scores: dict[str, list[Tensor]] = {"affinity": [], "untrained": [], "colour": [], "nearness": []}
    for item in range(len(test)):
        starts = torch.randint(size - tile + 1, (PATCHES, 2), generator=rng)
        frame = views.to_float(test.batch([item]))
        classes = test.parts["mask"].batch([item])
        patches = views.windows(frame, starts[None], tile)[0]
        parts = views.windows(classes, starts[None], tile)[0].flatten(1).long()
        shares = F.one_hot(parts, 256).float().mean(1)
        share, label = shares.max(1)
        pure = ((share >= PURE) & (label != UNKNOWN)).nonzero()[:, 0]
        first, second = torch.combinations(pure).T
        together.append(label[first] == label[second])
        seen = views.standardize(patches)
        for name, method in (("affinity", trained), ("untrained", fresh)):
            with torch.inference_mode():
                features = method.encoder(seen)
                scores[name].append(method.judge(features[first], features[second]))
        colours = patches.mean((2, 3))
        scores["colour"].append(-(colours[first] - colours[second]).norm(dim=1))
        scores["nearness"].append(-(starts[first] - starts[second]).float().norm(dim=1))
    same = torch.cat(together)
    found = {name: float(roc_auc_score(same, torch.cat(said))) for name, said in scores.items()}
    return {"pairs": len(same), "same": same.float().mean().item(), "told": found}


def without_a_network(run: withhold.Run, split: Split, at: Place) -> Found:
    """AUROC of anomaly scores without a network."""
    known, asked = (part.array.reshape(len(part), -1) / np.float32(255) for part in (split.train, split.test))
    principal = PCA(64).fit(known)
    missed = asked - principal.inverse_transform(principal.transform(asked))
    strange = ~np.isin(split.test.labels, split.train.labels)
    scores = {"pixels' norm": asked, "64 principal components": missed}
    return {name: float(roc_auc_score(strange, np.linalg.norm(x, axis=1))) for name, x in scores.items()}


@torch.inference_mode()
def matches(run: withhold.Run, split: Split, at: Place) -> Found:
    """Accuracy on whether an image and a sound match, with equally many matching and other pairs."""
    method, pairs, right = run.method, run.load_data(split.shown[0]), []
    method.seed(0)
    for part in np.array_split(np.arange(len(pairs)), 10):
        visible, withheld = method.hide({"clips": pairs.batch(part)})
        right.append(method.loss(method.predict(visible), withheld)["accuracy"].item())
    return {"match_accuracy": float(np.mean(right))}


@torch.inference_mode()
def pointing(run: withhold.Run, split: Split, at: Place) -> Found:
    """How often the peak of the map lies in the spoken digit's box, and the same for baselines and other sounds."""
    manifest, corners = split.test
    method, test, canvas, side = run.method, run.load_data(manifest), 64, 28
    maps: dict[str, list[Tensor]] = {"pointing": [], "brightest": [], "with another's sound": []}
    silent = []
    for part in np.array_split(np.arange(len(test)), 10):
        seen, heard = views.to_float(test.batch(part))
        places, sounds = method.predict((seen, heard))
        maps["pointing"].append(method.maps(places, sounds)[:, 0])
        maps["brightest"].append(F.avg_pool2d(seen[:, 0].mean(1), 9, 1, 4))
        maps["with another's sound"].append(method.maps(places, sounds.roll(1, 0))[:, 0])
        _, silence = method.predict((seen, torch.zeros_like(heard)))
        silent.append(method.judge(places, silence).diagonal() > 0)

    def inside(points: np.ndarray) -> float:
        return float(((points >= corners) & (points < corners + side)).all(1).mean())

    def peaks(parts: list[Tensor]) -> np.ndarray:
        found = torch.cat(parts)
        y, x = divmod(found.flatten(1).argmax(1).numpy(), found.shape[2])
        return (np.stack([x, y], 1) + 0.5) * canvas / found.shape[2]

    return {name: inside(peaks(parts)) for name, parts in maps.items()} | {
        "random place": (side / canvas) ** 2, "random digit": 1 / 3,
        "middle": inside(np.full((len(test), 2), canvas / 2)),
        "silence taken for a match": torch.cat(silent).float().mean().item(),
    }  # fmt: skip
