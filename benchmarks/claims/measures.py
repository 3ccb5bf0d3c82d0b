"""Measures of claims that no protocol has: functions of a run and its data."""

import copy
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims.data import Place, Split
from claims.row import Claim
from scipy.ndimage import median_filter
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from torch import Tensor
from torch.nn import functional as F

import withhold
from withhold import data, evaluation, losses, methods, views
from withhold.data import Samples
from withhold.evaluation.protocols.lowshot import DRAWS, SHOTS, draw
from withhold.nets import frozen
from withhold.runs.build import build_method
from withhold.training import prepare

Found = dict[str, Any]


def last_row(run: withhold.Run, split: Split, at: Place) -> Found:
    """The last row of the training log, and the number of embedded items."""
    return {"journal": run.rows()[-1], "embedded": run.embed(split.test).num_rows}


def largest_class(run: withhold.Run, split: Split, at: Place) -> Found:
    """The accuracy of always predicting the most frequent class."""
    return {"chance": float(np.bincount(split.test.labels).max() / len(split.test))}


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
def perplexity(run: withhold.Run, split: Split, at: Place) -> Found:
    """Perplexity of masked tokens, of the network and of token frequencies; accuracy on whether two halves match."""
    method, windows = run.method, run.load_data(split.test).windows()
    method.seed(at.seed)
    sums = torch.zeros(4)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(at.seed))
    for part in order.split(64):
        visible, (tokens, follows) = method.hide({"texts": windows.batch(part)})
        scores, says = method.predict(visible)
        masked = F.cross_entropy(scores, tokens, reduction="sum")
        right = ((says > 0) == follows).float().mean() * len(tokens)
        sums += torch.stack([masked, -method.known[tokens].sum(), right, torch.tensor(float(len(tokens)))])
    trained, frequencies, right = (sums[:3] / sums[3]).tolist()
    return {
        "perplexity": float(np.exp(trained)), "unigram_perplexity": float(np.exp(frequencies)), "next_accuracy": right,
        "tokens": int(sums[3]),
    }  # fmt: skip


@torch.inference_mode()
def frame_errors(run: withhold.Run, split: Split, at: Place) -> Found:
    """Errors of the clips' second half, summed over a frame's pixels, and those of baselines without a network."""
    said = []
    for part in torch.from_numpy(split.test)[:, :, None].split(50):
        predicted = run.method.predict(run.method.hide({"videos": part})[0])
        said.append(predicted["future"][:, :, 0].sigmoid())
    test = split.test.astype(np.float32) / 255
    half = test.shape[1] // 2
    predictors = {
        "network": torch.cat(said).numpy(), "last frame": test[:, half - 1 : half],
        "mean image": split.train[:, half:].mean((0, 1))[None, None] / 255, "nothing": np.zeros((1, 1, 1, 1)),
    }  # fmt: skip
    return {"results": [{"predictor": name, **_errors(frames, test[:, half:])} for name, frames in predictors.items()]}


def _errors(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Frames in [0, 1], which broadcast -> both errors; predictions are clipped to [1e-6, 1 - 1e-6]."""
    share = np.clip(said, 1e-6, 1 - 1e-6)
    entropy = -(true * np.log(share) + (1 - true) * np.log(1 - share))
    squares = (said - true) ** 2
    return {name: float(e.sum((2, 3)).mean()) for name, e in (("squared_error", squares), ("cross_entropy", entropy))}


@torch.inference_mode()
def likelihood(run: withhold.Run, split: Split, at: Place) -> Found:
    """Negative log-likelihood of test images in nats: the negative ELBO and its two parts, the closer bound of 64 codes
    (Burda et al., ICLR 2016), and the cost under the mean image."""
    method, draws, found = run.method, 64, []
    method.seed(at.seed)
    images = views.to_float(split.test.batch(np.arange(1000)))
    for part in images.split(100):
        mean, log_variance = method.encode(part)
        logs = []
        for noise in (method.noise(len(part)) for _ in range(draws)):
            code = mean + (log_variance / 2).exp() * noise
            cost = F.binary_cross_entropy_with_logits(method.decoder(code), part, reduction="none").sum((1, 2, 3))
            logs.append(torch.stack([cost, (code.square() - noise.square() - log_variance).sum(1) / 2]))
        image, beside = torch.stack(logs).unbind(1)
        closer = np.log(draws) - (-image - beside).logsumexp(0)
        found.append(torch.stack([(image + beside).mean(0), image.mean(0), beside.mean(0), closer]))
    bound, image, code, closer = torch.cat(found, 1).mean(1).tolist()
    return {
        "bound": bound, "image": image, "code": code, "closer bound": closer,
        "mean image": method.trivial(images).item(), "n_test": len(images),
    }  # fmt: skip


@torch.inference_mode()
def restored(run: withhold.Run, split: Split, at: Place) -> Found:
    """Peak signal-to-noise ratios in decibels over all pixels of test photographs, and those of median filters."""
    clean = views.to_float(split.test.batch(np.arange(min(400, len(split.test)))))
    rng, found = torch.Generator().manual_seed(at.seed), {}
    for name, seen in (("dirt", views.dirt(clean, rng)), ("rain", views.rain(clean, rng)), ("clean", clean)):
        said = {f"median of {k} x {k}": torch.from_numpy(median_filter(seen.numpy(), (1, 1, k, k))) for k in (3, 5)}
        said |= {"as it is": seen, "network": torch.cat([run.method.predict(part) for part in seen.split(50)])}
        found[name] = {who: losses.psnr(losses.squared_error(images, clean)).item() for who, images in said.items()}
    return found


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


def similarity(run: withhold.Run, split: Split, at: Place) -> Found:
    """Words per second, and agreement with human ratings before and after training."""
    words = sum(len(text.split()) for text in split.streams[0])
    epochs, seconds = run.rows()[-1]["epoch"], run.config["outcome"]["seconds"]
    vectors = {
        name: _agreement(of, split.test) for name, of in (("trained", run.encoder), ("untrained", run.untrained()))
    }
    return {"words": words, "words_per_second": round(epochs * words / seconds), **vectors}


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


SIMILARITY = {"wordsim353": "EN-WS-353-ALL.txt", "simlex999": "EN-SIMLEX-999.txt"}


def _agreement(encoder: Any, folder: Path) -> Found:
    """Spearman's correlation with human ratings over the pairs whose words are both known; accuracy on analogies.

    An analogy is correct if its answer is the nearest of all known words (3CosAdd).
    """
    vectors = F.normalize(encoder.embed.weight.detach(), dim=1)
    known = {word: row for word, row in encoder.tokenizer.get_vocab().items() if encoder.ordinary[row]}
    found: Found = {}
    for name, file in SIMILARITY.items():
        lines = [line.lower().split() for line in (folder / file).read_text(encoding="utf-8").splitlines()]
        pairs = [(known[a], known[b], float(score)) for a, b, score in lines if a in known and b in known]
        first, second, scores = map(list, zip(*pairs, strict=True))
        cosines = (vectors[first] * vectors[second]).sum(1)
        found[name] = {"spearman": float(spearmanr(cosines, scores)[0]), "pairs": len(pairs), "of": len(lines)}
    with gzip.open(folder / "questions-words.txt.gz", "rt", encoding="utf-8") as file:
        section, questions, total = "", {"semantic": [], "syntactic": []}, {"semantic": 0, "syntactic": 0}
        for words in (line.lower().split() for line in file):
            if words[0] == ":":
                section = "syntactic" if words[1].startswith("gram") else "semantic"
                continue
            total[section] += 1
            if all(word in known for word in words):
                questions[section].append([known[word] for word in words])
    for section, rows in questions.items():
        right = 0
        for a, b, c, d in (part.T for part in torch.tensor(rows).split(256)):
            cosines = (vectors[b] - vectors[a] + vectors[c]) @ vectors.T
            cosines[:, ~encoder.ordinary] = -torch.inf
            for asked in (a, b, c):
                cosines[torch.arange(len(asked)), asked] = -torch.inf
            right += int((cosines.argmax(1) == d).sum())
        found[section] = {"accuracy": right / len(rows), "questions": len(rows), "of": total[section]}
    return found


def read_by_another(run: withhold.Run, split: Split, at: Place) -> Found:
    """Accuracy on translated digits of a classifier trained on the other domain with labels."""
    usps, most = split.streams[1], 2000
    teacher = withhold.train(
        "dann", usps, usps, encoder="convnet", epochs=6 * at.share, seed=at.seed, out=at.folder / "reader", weight=0.0
    )
    asked, known = split.test

    def tensors(samples: Samples) -> tuple[Tensor, Tensor]:
        return views.to_float(samples.batch(np.arange(most))), torch.as_tensor(samples.labels[:most])

    def read(images: Tensor, labels: Tensor) -> float:
        with frozen(teacher.method):
            said = torch.cat([teacher.method.classify(part).argmax(1) for part in images.split(500)])
        return (said == labels).float().mean().item()

    images, labels = tensors(asked)
    rows, fresh = run.rows(), methods.find("cyclegan")(run.untrained())
    with torch.inference_mode():
        makers = {"translated": run.method, "translated, untrained": fresh}
        made = {name: torch.cat([by.to_second(part) for part in images.split(250)]) for name, by in makers.items()}
    return {
        "n_test": most, "true images of the target": read(*tensors(known)), "source as it is": read(images, labels),
        **{name: read(digits, labels) for name, digits in made.items()},
        "cycle error": [rows[0]["generators/cycle"], rows[-1]["generators/cycle"]],
        "change": rows[-1]["generators/change"], "discriminators' accuracy": rows[-1]["discriminators/accuracy"],
    }  # fmt: skip


def taught_by_refined(run: withhold.Run, split: Split, at: Place) -> Found:
    """Accuracy on real digits of classifiers trained on simulated digits, unchanged and refined.

    Also the accuracy on simulated and refined digits of a classifier trained on real digits with labels.
    """
    simulated, real = split.streams
    with frozen(run.method), torch.inference_mode():
        seen = views.to_float(simulated.batch(np.arange(len(simulated)))).split(500)
        refined = torch.cat([run.method.refiner(part) for part in seen])
    pixels = (refined * 255).round().byte().permute(0, 2, 3, 1).numpy()
    changed = data.load((pixels, simulated.labels), size=simulated.shape[0], channels=simulated.shape[2])
    known = {"as they are": simulated, "refined": changed, "real": real}
    asked = {"real": split.test, "as they are": simulated, "refined": changed}
    found: Found = {"change": run.rows()[-1]["refiner/change"]}
    for name, samples in known.items():
        passes = 8 * at.share * len(simulated) / len(samples)
        teacher = withhold.train(
            "finetune", samples, encoder="convnet", epochs=passes, seed=at.seed, out=at.folder / name.replace(" ", "-"),
            probe=False, flip=0.0,
        )  # fmt: skip
        for other in asked if name == "real" else ("real",):
            said = evaluation.scores(teacher.method, asked[other]).argmax(1).numpy()
            found[f"{other} read by who learned from {name}"] = float((said == asked[other].labels).mean())
    return found


def tfidf(claim: Claim, split: Split, at: Place) -> Found:
    """Control: scikit-learn's TF-IDF of the words of all training texts, with logistic regression on the labels."""
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(split.streams[-1])
    (texts, labels), (questions, answers) = split.train, split.test
    known, asked, labels = vectorizer.transform(texts), vectorizer.transform(questions), torch.as_tensor(labels)

    def accuracy(rows: Any) -> float:
        learned = LogisticRegression(C=10, max_iter=1000).fit(known[rows], labels[rows].numpy())
        return learned.score(asked, answers)

    about = {"encoder": "tf-idf of words", "metric": "accuracy"}
    if "lowshot" not in claim.protocols:
        return {"results": [{**about, "protocol": "logistic", "value": accuracy(np.arange(len(labels)))}]}
    rng, rows = torch.Generator().manual_seed(at.seed), []
    for shots in SHOTS:  # the same draws of labels as in the protocol
        values = [accuracy(draw(labels, shots, rng).numpy()) for _ in range(DRAWS)]
        spread, middle = torch.std_mean(torch.tensor(values))
        rows.append(
            {**about, "protocol": "lowshot", "shots": shots, "value": middle.item(), "deviation": spread.item()}
        )
    return {"results": rows}


def gensim(claim: Claim, split: Split, at: Place) -> Found:
    """Control: gensim with the same text and settings, run by a script that prints one line of JSON."""
    if not at.peer:
        raise SystemExit("gensim runs in its own environment: give --peer PYTHON SCRIPT.")
    corpus = at.folder / "corpus.txt"
    corpus.write_text(" ".join(split.streams[0]), encoding="utf-8")
    sets = [word for name, file in SIMILARITY.items() for word in ("--similarity", f"{name}={split.test / file}")]
    command = [*at.peer, str(corpus), "--epochs", str(claim.epochs), *sets]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(said.splitlines()[-1])
