"""Claims of semi-supervised methods: a few labels and many unlabelled items."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from claims.row import Claim, beside_controls, control, labels_alone
from claims.starts import starts

WEAK = ("pseudo_label", "entropy_minimization", "fixmatch", "freematch", "uda", "vat", "lga")
NOISY = ("mean_teacher", "pi_model", "temporal_ensembling", "sntg")
"""Families of methods that train identically if unlabelled data have weight 0; they share the first one's control."""


def few_labels() -> list[Claim]:
    """Accuracy of each method's classifier. Rows and their controls train for the same number of epochs."""
    start = next(row for row in starts() if row.method == "simclr" and row.encoder == "convnet")
    image = partial(Claim, "fewlabels", encoder="convnet", protocols=("classifier", "linear"))
    few = dict.fromkeys((*WEAK, *NOISY, "ict", "mixmatch", "mixmixup", "fast_swa", "vadd"), 1.5) | {"remixmatch": 0.75}
    few |= {"temporal_ensembling": 3}  # its targets are means over past epochs
    digits = {**dict.fromkeys((*WEAK[:2], "vat"), 6), **dict.fromkeys(NOISY[1:], 6), "vadd": 10}
    longer = {"temporal_ensembling": 20}
    best = ("mixmixup", "mixmatch", "ict", "freematch")  # with 250 labels from SimCLR
    matches = ("fixmatch", "freematch", "remixmatch")
    pretrained = dict.fromkeys((*best, *matches), 0.4) | {"mixmixup": 0.25, "mixmatch": 0.25, "remixmatch": 0.14}
    claims = []
    for name, count, each in (("cifar10", 4000, 8), ("fashion-mnist", 100, 1.5)):
        for method, epochs in {"mean_teacher": 1.5, "mixmatch": 1.5, "uda": each}.items():
            row = image(("few_images", name, count), method, epochs=epochs)
            claims += ablated(replace(row, controls=(labels_alone(row), *fresh_and_raw(row))))
    plan = image(("few_images", "cifar10", 250), "")
    large = replace(plan, encoder="efficientnet-lite0", settings={"pretrained": True})
    groups: list[tuple[Mapping[str, float], Claim]] = [
        (few, plan), (few, replace(plan, start=start)),
        (digits, replace(plan, data=("few_images", "mnist", 100), encoder="perceptron")),
        (longer, replace(plan, data=("few_images", "mnist", 100), encoder="perceptron")),
        (among(few, best), replace(plan, data=("few_images", "cifar10", 40))),
        (among(few, {*matches} - {*best}), replace(plan, data=("few_images", "cifar10", 40))),
        (among(few, matches), replace(plan, data=("few_images", "cifar10", 40), start=start)),
        (among(few, {*best, "fixmatch"} - {"mixmatch"}), replace(plan, data=("few_images", "cifar10", 4000))),
        (among(pretrained, matches), replace(large, data=("few_images", "cifar10", 40, 64))),
        (pretrained, replace(large, data=("few_images", "cifar10", 250, 64))),
    ]  # fmt: skip
    for seed in (1, 2):
        groups += [
            (among(few, best), replace(plan, data=("few_images", "cifar10", 40), seed=seed)),
            (among(few, best), replace(plan, data=("few_images", "cifar10", 4000), seed=seed)),
            (among(pretrained, best), replace(large, data=("few_images", "cifar10", 250, 64), seed=seed)),
        ]
    for methods, plan in groups:
        for method, epochs in methods.items():
            row = replace(plan, method=method, epochs=epochs)
            family = next((family for family in (WEAK, NOISY) if method in family), (method,))
            controls = (labels_alone(replace(row, method=family[0])), *fresh_and_raw(row))
            claims += ablated(replace(row, controls=controls))
    for seed in (0, 1):
        row = Claim(
            "fewlabels", ("few_texts", "imdb", 100), "uda_text", "word-vectors", 4, seed, protocols=["classifier"]
        )
        controls = (labels_alone(row), control(row, "tfidf"))
        claims += [replace(row, settings=to, controls=controls) for to in ({}, {"augmentation": "switchout"})]
    return claims


def ablated(row: Claim) -> list[Claim]:
    """A row, and for the first draw of labels a row with another value of the parameter that decides its result."""
    others = {"mixmatch": {"weight": 75.0}}
    if row.start is None:
        others["vat"] = {"entropy": 1.0}
    if row.data[-1] == 4000:
        others["freematch"] = {"fairness": 0.0}
    other = others.get(row.method) if row.seed == 0 else None
    return [row, replace(row, settings=row.settings | other)] if other else [row]


def among(epochs: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    """Those of `epochs` with these names."""
    return {name: count for name, count in epochs.items() if name in names}


def fresh_and_raw(claim: Claim) -> tuple[Claim, ...]:
    """The controls: a linear probe with the same labels on the randomly initialised encoder, and on pixels."""
    return tuple(beside_controls(replace(claim, protocols=("linear",), start=None, settings={})).controls)
