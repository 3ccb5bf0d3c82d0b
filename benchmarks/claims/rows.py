"""All claims: each row says what is trained on which data, for how long, how it is measured, and with which controls.

A claim's name contains everything that decides its numbers; its result is benchmarks/results/NAME.json. A control is a
row of its own. It is measured once for all claims of the same data and encoder that name it.
"""

from dataclasses import replace
from functools import partial

from claims.few import few_labels
from claims.row import Claim, beside_controls, control, labels_alone
from claims.starts import (
    clip_starts,
    from_pretrained,
    long_starts,
    pretext_starts,
    sound_starts,
    starts,
    text_starts,
    video_starts,
)  # fmt: skip


def encoders() -> list[Claim]:
    """CIFAR-10: each method trains a small encoder for about ten CPU minutes; k-NN and linear probes."""
    row = partial(Claim, "encoders", ("cifar10",), protocols=("knn", "linear", "lowshot"))
    raw, supervised = row("raw", like="rotation"), row("supervised", "convnet", 10, like="rotation")
    beside = {
        "convnet": (row("untrained", "convnet", like="rotation"), raw, supervised),
        "lightness": (row("untrained-lightness", "convnet", like="colorization"), raw, supervised),
        "split": (row("untrained", "split-convnet", like="split_brain"), raw),
        "vit-tiny": (row("untrained", "vit-tiny", like="mae"), raw),
    }
    epochs = {
        "autoencoder": 3, "variational_autoencoder": 3, "denoising_autoencoder": 3, "context_encoder": 2, "rotation": 2,
        "jigsaw": 10, "relative_position": 7, "egomotion": 7, "simclr": 4, "moco": 6, "byol": 3,
        "lejepa": 2, "simsiam": 4, "pirl": 8, "barlow_twins": 4, "vicreg": 4, "dino": 3, "swav": 4,
    }  # fmt: skip
    return [
        *(row(name, "convnet", passes, controls=beside["convnet"]) for name, passes in epochs.items()),
        row("deep_cluster", "convnet", 8, measures=("class_agreement",), controls=beside["convnet"]),
        *(row(name, "convnet", epochs[name], 1, controls=beside["convnet"]) for name in ("simclr", "moco")),
        *(row("exemplar", "convnet", 12, settings={"exemplars": n}, controls=beside["convnet"]) for n in (2000, 8000)),
        row("cooccurrence", "convnet", 12, measures=("pairs_told",), controls=beside["convnet"]),
        *(
            row("filter_response", "convnet", 3, settings={"of": of}, controls=beside["convnet"])
            for of in ("edges", "corners")
        ),
        row("colorization", "convnet", 3, controls=beside["lightness"]),
        row("split_brain", "split-convnet", 10, controls=beside["split"]),
        row("mae", "vit-tiny", 2, controls=beside["vit-tiny"]),
        row("i_jepa", "vit-tiny", 2, controls=beside["vit-tiny"]),
        # Two possible causes of negatives: few steps, and small patches.
        row("i_jepa", "vit-tiny", 2, settings={"batch_size": 64, "momentum": 0.995}, controls=beside["vit-tiny"]),
        row("selfie", "convnet", 6, settings={"grid": 2}, controls=beside["convnet"]),
        row("selfie", "convnet", 6, measures=("context_used",), controls=beside["convnet"]),
        beside_controls(Claim("encoders", ("digits",), "rotation", "convnet", 40, protocols=("knn", "linear"))),
    ]


def clusters() -> list[Claim]:
    """Digits and clothes in ten clusters, without labels; controls: k-means on untrained features and on pixels."""
    row = partial(Claim, "clusters", method="imsat", encoder="perceptron", epochs=30, protocols=("clustering",))
    found = [row(data=("images", "mnist", 28), seed=seed) for seed in (0, 1, 2)]
    return [beside_controls(claim) for claim in (*found, row(data=("images", "fashion-mnist", 28)))]


def gpu() -> list[Claim]:
    """CIFAR-10 on a GPU: images per second, and the accuracy after the usual 200 epochs."""
    row = Claim("cifar10-gpu", ("cifar10",), "simclr", "resnet18", 200, settings={"batch_size": 512})
    return [beside_controls(replace(row, protocols=("knn", "linear")))]


def domains() -> list[Claim]:
    """Labels in the first domain only; accuracy in the second. All rows of a pair train for as many steps."""
    claims = []
    row = partial(Claim, "domains", method="dann", encoder="lenet", protocols=("classifier",))
    for source, target, epochs in (("mnist", "colour", 2), ("mnist", "usps", 1), ("usps", "mnist", 1)):
        alone = {"usps": 8.23}  # it has an eighth as many images
        source_only = row(data=("domains", source, source, target), epochs=alone.get(source, epochs))
        target_labels = row(data=("domains", target, target), epochs=alone.get(target, epochs))
        controls = (labels_alone(source_only), labels_alone(target_labels))
        claims.append(row(data=("domains", source, target), epochs=epochs, controls=controls))
    return claims


def weights() -> list[Claim]:
    """The weight of the domain loss, and the mutual information of predictions, which needs no labels."""
    row = partial(Claim, "weights", method="dann", encoder="lenet", protocols=("classifier", "information"))
    return [
        row(data=("domains", source, target), epochs=epochs, settings={"weight": weight})
        for source, target, epochs in (("mnist", "colour", 2), ("mnist", "usps", 1), ("usps", "mnist", 1))
        for weight in (0.0, 0.1, 0.3, 1.0)
    ]


def generalization() -> list[Claim]:
    """PACS with each domain held out in turn; the control trains on the others without puzzles."""
    found = []
    for domain in ("art_painting", "cartoon", "photo", "sketch"):
        row = partial(Claim, "generalization", method="jigen", protocols=("classifier",))
        small = row(data=("other_domain", domain), encoder="convnet", epochs=20)
        easy = {"pretrained": True, "shuffled": 0.4, "grid": 2, "orders": 5}  # puzzles that few steps may teach
        large = row(data=("other_domain", domain, 64), encoder="efficientnet-lite0", epochs=8, settings=easy)
        found += [replace(claim, controls=(labels_alone(claim),)) for claim in (small, large)]
    return found


def tasks() -> list[Claim]:
    """One network for all tasks, with each way to balance them; control: one network per task, same total cost."""
    found = []
    for name, columns, epochs in (("pacs", ("class", "domain"), 40), ("mnist", ("class", "thickness", "slant"), 3)):
        row = Claim("tasks", ("columns", name), "multitask", "convnet", epochs, protocols=("columns",))
        alone = tuple(
            replace(row, data=(*row.data, column), epochs=round(epochs / len(columns), 2)) for column in columns
        )
        found.append(replace(beside_controls(row), controls=(*beside_controls(row).controls, *alone)))
    row = Claim("tasks", ("camvid",), "dense_multitask", "convnet", 45, measures=("each_task",))
    alone = tuple(replace(row, settings={"tasks": task}, epochs=15) for task in ("mask", "edges", "corners"))
    found.append(replace(row, controls=alone))
    ways = [{"balance": way} for way in ("uncertainty", "gradnorm", "pcgrad")]
    return [claim for row in found for claim in (row, *(replace(row, settings=way, controls=()) for way in ways))]


def dense(method: str, data: str, small: float, most: float) -> list[Claim]:
    """Segmentation or detection with a small and a large encoder from several starts, frozen and fine-tuned.

    Controls of segmentation: the most frequent class, and colour and position alone; of detection: frequent boxes.

    Args:
        small, most: epochs of the small and of the large encoder.
    """
    row = Claim(method, (data,), method, "convnet", small, protocols=(method,))
    large = replace(row, encoder="efficientnet-lite0", epochs=most, settings={"pretrained": True})
    start = replace(row, method="simclr")
    controls = (control(row, "untrained", "convnet", epochs=small), control(row, "raw"))
    begun = (row, replace(row, start=start), large)
    claims = [replace(each, settings=each.settings | kept) for each in begun for kept in ({}, {"freeze": "all"})]
    gentle = ({"encoder_lr": 0.3, "layer_decay": 0.9}, {"encoder_lr": 0.1, "layer_decay": 0.8})  # as for few labels
    claims += [replace(each, settings=each.settings | slow) for each, slow in zip(begun[1:], gentle, strict=True)]
    return [replace(claim, controls=controls) for claim in (start, *claims)]


def weather() -> list[Claim]:
    """Masks by day, none at dusk or in fog, which is the test set. All rows train for the same number of steps."""
    claims = []
    for target in ("dusk", "fog"):
        row = Claim("weather", ("weather", "day", target), "advent", "efficientnet-lite0", 10)
        row = replace(row, settings={"pretrained": True}, protocols=("segmentation",), measures=("entropy_maps",))
        oracle = replace(row, data=("weather", target, target))  # with the target's own labels
        if target == "dusk":  # a fifth as many frames, for which the default is smaller batches
            oracle = replace(oracle, settings=row.settings | {"batch_size": 16}, epochs=63)
        controls = (labels_alone(row), labels_alone(oracle))
        modes: list[dict] = [{"mode": "minent"}, {}, {"inner": True}]
        if target == "dusk":  # with a hundred times the paper's weight, the most frequent class everywhere is best
            modes.append({"mode": "minent", "weight": 0.1})
        claims += [replace(row, settings=row.settings | mode, controls=controls) for mode in modes]
    return claims


def retrieval() -> list[Claim]:
    """Retrieval: each image of one half is a query for its class; the other half is for training, without labels."""
    names = ("omniglot", "pacs")
    rows = (Claim("retrieval", ("halves", n), "simclr", "convnet", 40, protocols=("retrieval",)) for n in names)
    return [beside_controls(row) for row in rows]


def same_places() -> list[Claim]:
    """Retrieval of frames of the same place; the control is the pretrained weights that training starts from."""
    found = []
    for name, epochs in (("davis", 28), ("camvid", 20)):
        row = Claim("places", ("places", name), "siamac", "efficientnet-lite0", epochs, protocols=("retrieval",))
        row = replace(row, settings={"pretrained": True})
        controls = (control(row, "start", row.encoder), control(row, "raw", row.encoder))
        found += [replace(row, settings=row.settings | more, controls=controls) for more in ({}, {"pooling": "GeM"})]
    return found


def episodes() -> list[Claim]:
    """Few-shot accuracy on classes that are not in training: five at a time, with one or five examples of each.

    Photographs have an upright direction. Characters of unknown alphabets do not, so for them the rotation pretext task
    rather adds classes than asks about the content. Rotation sees four copies of each image: training without it is
    measured for the same time and for the same number of steps.
    """
    claims = []
    for name, epochs in (("omniglot", 40), ("cifar10", 8)):
        row = Claim("episodes", ("novel", name), "few_shot", "convnet", protocols=("episodes",))
        located = [("location", epochs)] * (name == "cifar10")
        for pretext, passes in (("rotation", epochs), *located, ("none", 4 * epochs), ("none", epochs)):
            claims.append(beside_controls(replace(row, epochs=passes, settings={"pretext": pretext})))
    return claims


def augmentation() -> list[Claim]:
    """UDA by augmentation of images and texts; the control uses labels only, with the same augmentation."""
    image = Claim("augmentation", ("few_images", "cifar10", 1000), "uda", "convnet", 1.5, protocols=("classifier",))
    text = Claim(
        "augmentation", ("few_topics", "ag_news", 40), "uda_text", "word-vectors", 8, protocols=("classifier",)
    )
    claims = []
    for kind in ("flip", "cutout", "randaugment"):
        row = replace(image, settings={"augmentation": kind})
        alone = replace(row, settings=row.settings | {"labelled_views": "strong"})
        claims.append(replace(row, controls=(labels_alone(alone),)))
    switched = {"augmentation": "switchout"}
    for changes in ({"share": 0.0}, {"augmentation": "tfidf"}, switched, switched | {"temperature": 1.0}):
        alone = text
        if kind := changes.get("augmentation"):
            alone = replace(text, settings={"augmentation": kind, "labelled_views": "strong"})
        claims.append(replace(text, settings=changes, controls=(labels_alone(alone),)))
    return claims


def anomalies() -> list[Claim]:
    """Anomaly detection: nine classes for training; eights, or bags, are the anomalies."""
    claims = []
    for name in ("mnist", "fashion-mnist"):
        row = Claim("anomaly", ("without_class", name, "8"), "f_anogan", "convnet", 2, protocols=("anomaly",))
        controls = (replace(row, method="autoencoder", epochs=3), *beside_controls(row).controls)
        claims.append(replace(row, measures=("without_a_network",), controls=controls))
    return claims


def affinity() -> list[Claim]:
    """Whether two patches of a street scene show the same class, by co-occurrence."""
    return [Claim("affinity", ("streets",), "cooccurrence", "convnet", 100, measures=("objects_told",))]


def keypoints() -> list[Claim]:
    """Joints of figures, regressed from landmarks that were learned without labels."""
    return [beside_controls(Claim("keypoints", ("figures",), "landmarks", "fineconv", 40, protocols=("keypoints",)))]


def videos() -> list[Claim]:
    """Frame order, mask propagation, and frame prediction."""
    shuffle = partial(Claim, "order", method="shuffle_and_learn", encoder="convnet", protocols=("knn", "linear"))
    order = (
        shuffle(data=("videos", "fight-surv"), epochs=50, settings={"span": 8, "gap": 2}, measures=("largest_class",)),
        shuffle(data=("videos", "miracl-lips"), epochs=25, settings={"span": 6, "gap": 1}, measures=("largest_class",)),
    )
    track = partial(
        Claim, "tracking", method="tracking_by_colorizing", encoder="fineconv", settings={"batch_size": 8},
        protocols=("tracking",),
    )  # fmt: skip
    followed = (track(data=("sequences", "davis"), epochs=50), track(data=("sequences", "fight-surv"), epochs=3.5))
    masks = beside_controls(followed[0]).controls  # the same for both claims, whatever they were trained on
    frames = (
        Claim("frames", ("moving_mnist",), "frame_prediction", "convnet-lstm", 5, measures=("frame_errors",),
              settings={"batch_size": 16, "predicts": predicts})
        for predicts in ("composite", "future")
    )  # fmt: skip
    return [*map(beside_controls, order), *(replace(row, controls=masks) for row in followed), *frames]


def sounds() -> list[Claim]:
    """Written and spoken digits, and people who speak."""
    row = partial(Claim, encoder="audiovisual")
    pairs = partial(row, "pairs", ("spoken_digits",), "audiovisual_embedding", protocols=("crossmodal",))
    fresh = (control(pairs(), "untrained", "audiovisual"),)
    return [
        pairs(epochs=8.55, settings={"objective": "distance"}, measures=("matches",), controls=fresh),
        pairs(epochs=4.32, settings={"objective": "contrastive"}, controls=fresh),
        row("localization", ("spoken_canvas",), "audiovisual_localization", epochs=7.23,
            measures=("matches", "pointing")),
        row("pairs", ("people",), "audiovisual_embedding", epochs=39.64, measures=("last_row",)),
    ]  # fmt: skip


def texts() -> list[Claim]:
    """Word vectors, and masked words."""
    bert = partial(Claim, method="bert", encoder="text-transformer", settings={"batch_size": 32})
    topics = bert("topics", ("ag_news",), epochs=1.5, protocols=("lowshot",))
    fresh, raw = beside_controls(topics).controls
    words = Claim("words", ("wikipedia",), "skipgram", "word-vectors", 5, measures=("similarity",))
    return [
        replace(words, controls=(control(words, "gensim", epochs=5),)),
        bert("masked", ("wikitext",), epochs=1, measures=("perplexity",)),
        replace(topics, controls=(fresh, raw, control(topics, "tfidf"))),
    ]


def translation() -> list[Claim]:
    """Digits translated to another domain, tested with a classifier trained on that domain only."""
    return [Claim("translation", ("two_hands",), "cyclegan", "convnet", 6, measures=("read_by_another",))]


def refinement() -> list[Claim]:
    """Printed digits refined to look handwritten, and classifiers trained on them, by the weight of the change."""
    row = Claim("refinement", ("printed_digits",), "simgan", "convnet", 1.5, measures=("taught_by_refined",))
    return [row, *(replace(row, settings={"weight": weight}) for weight in (1.0, 20.0))]


def drawings() -> list[Claim]:
    """Variational autoencoders of digits and clothes: bounds of the negative log-likelihood in nats."""
    row = Claim("drawings", ("images", "fashion-mnist", 28), "variational_autoencoder", "convnet", 5)
    row = replace(row, settings={"likelihood": "bernoulli", "size": 28}, measures=("likelihood",))
    return [row, replace(row, data=("images", "mnist", 28))]


def restorations() -> list[Claim]:
    """Restoration of photographs behind dirt and drops, by networks trained on dirt, on drops, or on noise."""
    row = Claim("restoration", ("halves", "pacs"), "restoration", "pixelconv", 160, measures=("restored",))
    return [replace(row, settings={"corruption": corruption}) for corruption in ("dirt", "rain", "noise")]


CLAIMS = [
    *encoders(), *clusters(), *gpu(), *few_labels(), *augmentation(), *domains(), *weights(), *generalization(),
    *tasks(), *dense("segmentation", "camvid", 60, 40), *dense("detection", "bccd", 75, 40), *weather(),
    *retrieval(), *same_places(), *episodes(), *anomalies(), *keypoints(), *affinity(), *videos(), *sounds(), *texts(),
    *translation(), *refinement(), *drawings(), *restorations(), *starts(), *from_pretrained(), *pretext_starts(),
    *text_starts(texts()[-1]), *video_starts(*videos()[:2]), *clip_starts(), *sound_starts(), *long_starts(),
]  # fmt: skip
ROWS = {row.name: row for claim in CLAIMS for row in (claim, *claim.controls)}
"""All rows by name, controls included."""
