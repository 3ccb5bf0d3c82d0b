"""Claims of training that starts from another run's encoder, or from pretrained weights."""

from dataclasses import replace
from functools import partial

from claims.row import Claim


def starts() -> list[Claim]:
    """Training with few labels from several starts: linear probe, fine-tuning, and with unlabelled data."""
    probe, pretrained = {"freeze": "all"}, {"pretrained": True}
    row = partial(Claim, "starts", protocols=("classifier", "linear"))
    found = []
    for name, size, passes, counts in (
        ("cifar10", 64, (4, 0.4), {100: 200, 250: 300, 4000: 1200}),
        ("pacs-sketch", 96, (60, 4), {70: 200}),
        ("omniglot", 96, (60, 2), {680: 400}),
    ):
        views = {"flip": 0.0} if name == "omniglot" else {}
        measured = partial(row, protocols=("knn", "linear"))
        small = measured(("images", name), "simclr", "convnet", passes[0])
        large = measured(("images", name, size), "simclr", "efficientnet-lite0", passes[1], settings=pretrained)
        further = [small, large] + [replace(large, method="lejepa", epochs=0.15)] * (name == "cifar10")
        for count, steps in counts.items():
            few = row(("few_images", name, count), "finetune", "convnet", round(64 * steps / count), settings=views)
            many = replace(few, data=(*few.data, size), encoder="efficientnet-lite0", settings=views | pretrained)
            found += [
                replace(few, settings=views | probe), replace(few, settings=views | {"probe": False}),
                replace(many, settings=many.settings | probe), many, replace(few, start=small),
                replace(many, settings=views, start=large),
            ]  # fmt: skip
            for start in further:
                tuned = few if start is small else many
                found.append(replace(tuned, settings=views | probe, start=start))
            if (name, count) != ("cifar10", 4000):
                rest = 1.5 if name == "cifar10" else 40
                found.append(replace(few, method="uda", epochs=rest, start=small))
                found.append(replace(many, method="uda", epochs=0.15 * rest))
        found += further
    return found


def from_pretrained() -> list[Claim]:
    """Ten to twenty CPU minutes of training without labels from pretrained weights; the control is these alone."""
    row = partial(
        Claim, "from-pretrained", ("images", "cifar10", 64), encoder="efficientnet-lite0", protocols=("knn", "linear"),
        settings={"pretrained": True},
    )  # fmt: skip
    start, lightness = row("start", like="simclr"), row("start-lightness", like="colorization")
    epochs = {
        "rotation": 0.2, "colorization": 0.7, "simclr": 0.4, "moco": 0.55, "barlow_twins": 0.4, "vicreg": 0.4,
        "dino": 0.25, "lejepa": 0.2,
    }  # fmt: skip
    return [
        row(name, epochs=passes, controls=(lightness if name == "colorization" else start,))
        for name, passes in epochs.items()
    ]


def pretext_starts() -> list[Claim]:
    """Few labels after a pretext task whose paper evaluates it this way, compared with training from scratch."""
    found = []
    for name, count, start, epochs in (
        ("mnist", 100, Claim("starts", ("images", "mnist"), "egomotion", "convnet", 5), 128),
        ("cifar10", 2500, Claim("starts", ("images", "cifar10"), "selfie", "convnet", 6), 25),
    ):
        row = Claim("starts", ("few_images", name, count), "finetune", "convnet", epochs)
        row = replace(row, protocols=("classifier", "linear"))
        found += [replace(row, settings={"probe": False}), replace(row, start=start)]
    return found


def text_starts(bert: Claim) -> list[Claim]:
    """The same for news with word vectors or masked words: forty labels, ten of each topic."""
    words = Claim("starts", ("ag_news",), "skipgram", "word-vectors", 5, protocols=("lowshot",))
    row = Claim(
        "starts", ("few_topics", "ag_news", 40), "finetune", "word-vectors", 200, protocols=("classifier", "linear")
    )
    row = replace(row, settings={"lr": 1e-2})  # for word vectors
    rest = replace(row, method="uda_text", epochs=2, settings={}, start=words)
    slow = replace(row, encoder=bert.encoder, epochs=100, settings={})
    return [
        words, replace(slow, settings={"probe": False}), replace(slow, start=bert),
        replace(slow, settings={"freeze": "all"}, start=bert),
        replace(row, settings=row.settings | {"probe": False}), replace(row, start=words),
        replace(row, settings=row.settings | {"freeze": "all"}, start=words), rest,
    ]  # fmt: skip


def video_starts(*starts: Claim) -> list[Claim]:
    """The same for videos with all labels, split by location or by speaker."""
    found = []
    for start in starts:
        row = Claim("starts", start.data, "finetune", start.encoder, 20, protocols=("classifier", "linear"))
        found += [
            replace(row, settings={"probe": False}), replace(row, start=start),
            replace(row, settings={"freeze": "all"}, start=start),
        ]  # fmt: skip
    return found


def clip_starts() -> list[Claim]:
    """The same with encoders of clips: `convnet-lstm`, and `conv3d` on whole clips and on two frames."""
    found = []
    for name, epochs in (("fight-surv", 50), ("miracl-lips", 30)):
        start = Claim("actions", ("videos", name), "frame_prediction", "convnet-lstm", epochs)
        start = replace(start, protocols=("knn", "linear"))
        scratch = Claim("starts", start.data, "finetune", "conv3d", 20, protocols=("classifier", "linear"))
        scratch = replace(scratch, settings={"probe": False})
        found += [start, *video_starts(start), scratch, replace(scratch, data=(*start.data, 2))]
    # Lips again, with the learning rate of random weights: the default is lower for a pretrained encoder.
    return [*found, replace(found[2], data=start.data, start=start, settings={"encoder_lr": 1.0, "layer_decay": 1.0})]


def sound_starts() -> list[Claim]:
    """The same for spoken digits with ten recordings of each."""
    row = Claim("starts", ("few_sounds", "fsdd", 100), "finetune", "audio-cnn", 100, protocols=("classifier", "linear"))
    large = replace(row, encoder="audio-efficientnet-lite0", epochs=20, settings={"pretrained": True})
    return [
        replace(row, settings={"probe": False}), large, replace(large, settings=large.settings | {"freeze": "all"}),
    ]  # fmt: skip


def long_starts() -> list[Claim]:
    """All labels: training from scratch and fine-tuning, by training length."""
    small = next(row for row in starts() if row.method == "simclr" and row.encoder == "convnet")
    row = Claim("catching-up", small.data, "finetune", "convnet", protocols=("classifier",))
    return [
        each for epochs in (0.5, 1, 2, 4, 8)
        for each in (replace(row, epochs=epochs, start=small), replace(row, epochs=epochs, settings={"probe": False}))
    ]  # fmt: skip
