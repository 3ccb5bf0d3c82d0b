"""Tables of training with few labels."""

import math
import statistics
from collections.abc import Callable, Collection, Sequence

from parts.reading import CLAIMS, Claim, answered, measured, percent, result, table

STARTS = [claim.start for claim in CLAIMS]
"""The claims whose encoders other claims start from."""


def learned() -> str:
    """Accuracy of the routes of `learn`, cross-validated and on the test set."""
    names = {"cifar10": "CIFAR-10", "photographs": "photographs", "esc10": "ESC-10", "ag_news": "AG News"}
    cells = []
    for found in (result(f"learn-{name}") for name in names):
        for row in found.get("rows", ()):
            spread, kept = "", "chosen" * (row["route"] == found["kept"])
            if "low" in row:
                spread = f"{percent(row['low'])} to {percent(row['high'])}"
            else:
                kept = f"not run: needs {math.ceil(row['needs'])} minutes"
            test = percent(found["test"].get("kept" if kept == "chosen" else row["route"]))
            given = [names[found["data"]], str(found["labels"]), row["route"]]
            cells.append([*given, percent(row.get("accuracy")), spread, test, kept])
    return table(["data", "labels", "route", "cross-validation", "95 % interval", "test", "result"], cells)


def mislabelled() -> str:
    """How many of the suspected labels are wrong."""
    found = result("learn-mislabelled")
    if not found:
        return table([], [])
    return (
        f"Of {found['items']:,} training images of Fashion-MNIST, {found['flipped']} have a changed label. Of the "
        f"hundred labels\nthat `learn` suspects most after {found['minutes']:g} minutes, "
        f"{100 * found['precision']:.0f} are among these. All {found['named']} suspected labels\n"
        f"contain {percent(found['recall'])} % of the changed ones."
    )


def label() -> str:
    """Accuracy by labelling strategy and number of labels, and the gain over random labels."""
    found = result("label")
    cells = []
    for name, rows in found["rows"].items():
        for row in sorted(rows, key=lambda row: -row["ahead"]):
            means = [sum(column) / len(column) for column in zip(*row["accuracy"], strict=True)]
            ahead = "" if row["strategy"] == "random" else percent(row["ahead"], row["deviation"])
            cells.append([name, f"`{row['strategy']}`", *map(percent, means), ahead])
    return table(["data", "strategy", *map(str, found["counts"]), "gain over random"], cells)


def ordered_labels() -> str:
    """Accuracy by number of labels in page order and in random order, and the labels for equal accuracy."""
    found = result("explore-queue")
    draws, batch = found["draws"], found["batch"]
    names = {"queue": "page order", "random": "random order"}
    curves = {name: [sum(each) / len(draws) for each in zip(*(draw["curves"][name] for draw in draws), strict=True)]
              for name in names}  # fmt: skip
    counts = [batch * (place + 1) for place in range(len(curves["random"]))]
    rows = [[names[name], *map(percent, curve)] for name, curve in curves.items()]
    goal = curves["random"][-1]
    needed = next(count for count, value in zip(counts, curves["queue"], strict=True) if value >= goal)
    each = ", ".join(f"{draw['labels']['queue'] or f'over {counts[-1]}'}" for draw in draws)
    return table(["order", *map(str, counts)], rows) + (
        f"\n\nThe page's order reaches the accuracy of {counts[-1]} random labels with {needed} labels;\n"
        f"in the five draws with {each}."
    )


def fewlabels() -> str:
    """CIFAR-10: accuracy by method, labels and start, and in brackets the gain over labels only; the first draw."""
    starts = ("", ", from `simclr`", ", pretrained")
    columns = [f"{few} labels{start}" for start in starts for few in ("250", "40", "4,000")]
    return _gains(("cifar10",), _labels_and_start, columns)


def fewlabels_draws() -> str:
    """CIFAR-10: mean gain over labels only, and its standard deviation, of all draws of labels; and their number."""
    gains: dict[tuple[int, str, str], list[float]] = {}
    for claim, _ in measured("fewlabels"):
        values = [answered(row) for row in (claim, claim.controls[0])]
        if claim.data[1] == "cifar10" and {*claim.settings} <= {"pretrained"} and None not in values:
            row = claim.data[2], _labels_and_start(claim), claim.method
            gains.setdefault(row, []).append(100 * (values[0] - values[1]))
    several = [(*row, found) for row, found in gains.items() if len(found) > 1]
    several.sort(key=lambda row: (row[0], -statistics.mean(row[3])))
    cells = [
        [labels, f"`{method}`", f"{statistics.mean(found):+.1f} ± {statistics.stdev(found):.1f}", str(len(found))]
        for _, labels, method, found in several
    ]
    return table(["labels", "method", "gain over labels only", "draws"], cells)


def _labels_and_start(claim: Claim) -> str:
    start = f", from `{claim.start.method}`" if claim.start else ", pretrained" * ("pretrained" in claim.settings)
    return f"{claim.data[2]:,} labels{start}"


def fewlabels_digits() -> str:
    """The same for MNIST and Fashion-MNIST, by the number of epochs."""
    names = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
    columns = ["MNIST, 6 epochs", "MNIST, 10 epochs", "MNIST, 20 epochs", "Fashion-MNIST, 1.5 epochs"]
    return _gains(names, lambda claim: f"{names[claim.data[1]]}, {claim.epochs:g} epochs", columns)


def _gains(names: Collection[str], column: Callable[[Claim], str], columns: Sequence[str]) -> str:
    """A row for each method, the largest gain first, and those of `columns` that have a result with the first draw."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for claim, _ in measured("fewlabels"):
        if claim.data[1] in names and claim.seed == 0:
            options = [f"{key}={to:g}" for key, to in claim.settings.items() if key != "pretrained"]
            values = [answered(row) for row in (claim, claim.controls[0])]
            if None in values:  # the control is not measured yet
                continue
            scores = [100 * value for value in values]
            row = found.setdefault(f"`{' '.join([claim.method, *options])}`", {})
            row[column(claim)] = (scores[0], scores[0] - scores[1])
    columns = [name for name in columns if any(name in row for row in found.values())]

    def cell(row: dict[str, tuple[float, float]], name: str) -> str:
        return f"{row[name][0]:.1f} ({round(row[name][1], 1) + 0:+.1f})" if name in row else ""

    def gains(row: dict[str, tuple[float, float]]) -> list[float]:
        return [-row[name][1] if name in row else 100.0 for name in columns]

    lines = [[method, *(cell(row, name) for name in columns)]
             for method, row in sorted(found.items(), key=lambda item: gains(item[1]))]  # fmt: skip
    return table(["method", *columns], lines)


def fewlabels_texts() -> str:
    """IMDB: accuracy by augmentation and draw of labels, with and without unlabelled texts, and of TF-IDF."""
    cells = []
    for claim, _ in measured("fewlabels"):
        if claim.data[1] == "imdb":
            scores = [percent(answered(row)) for row in (claim, *claim.controls)]
            cells.append([claim.settings.get("augmentation", "tfidf"), str(claim.seed), *scores])
    return table(["augmentation", "draw", "`uda_text`", "labels only", "TF-IDF"], cells)


def augmentation() -> str:
    """Accuracy by augmentation, with unlabelled data, and without with plain and with augmented labelled items."""
    cells, plain = [], {}  # plain: with the labelled views of the rows with unlabelled data
    for claim, _ in measured("augmentation"):
        if claim.settings.get("share") == 0 or claim.settings["augmentation"] == "flip":
            plain[claim.on] = percent(answered(claim.controls[0]))
    for claim, _ in measured("augmentation"):
        how = "none" if claim.settings.get("share") == 0 else claim.settings["augmentation"]
        how += f", temperature {claim.settings['temperature']:g}" if "temperature" in claim.settings else ""
        scores = [percent(answered(row)) for row in (claim, *claim.controls)]
        given = [f"`{claim.data[1]}`", str(claim.data[2]), f"`{claim.method}`", str(claim.seed), how]
        cells.append([*given, scores[0], plain.get(claim.on, ""), scores[1]])
    columns = ["with unlabelled data", "labels only", "labels only, augmented"]
    return table(["data", "labels", "method", "seed", "augmentation", *columns], cells)


def episodes() -> str:
    """Accuracy on five new classes with one and five examples of each, and half the 95 % interval."""
    cells = {}
    for claim, _ in measured("episodes"):
        for row in (claim, *claim.controls):
            found = result(row.name)
            if not found:  # the control is not measured yet
                continue
            who = f"`{row.method}`, {row.settings['pretext']}" if row == claim else row.method.replace("raw", "pixels")
            scores = [percent(each["value"], each["high"] - each["value"]) for each in found["results"]]
            cells[row.name] = [f"`{row.on}`", str(row.seed), who, f"{row.epochs:g}" if row.epochs else "", *scores]
    return table(["data", "seed", "features", "epochs", "1 shot", "5 shots"], list(cells.values()))


def starts() -> str:
    """Accuracy with few labels by pretraining and training, grouped by the number of labels."""
    cells = []
    for claim, found in measured("starts"):
        if claim in STARTS or claim.data[0] == "videos":
            continue
        _, name, count, *_ = (*claim.data, "all")
        weights = ["pretrained weights"] if (claim.start or claim).settings.get("pretrained") else []
        began = weights + ([f"`{claim.start.method}`"] if claim.start else []) or ["none"]
        frozen, scratch = claim.settings.get("freeze") == "all", claim.settings.get("probe") is False
        what = "frozen encoder" if frozen else "from scratch" if scratch else "fine-tuning"
        probe = next((row["value"] for row in found["results"] if row["protocol"] == "linear"), None)
        cells.append([
            f"`{name}`", str(count), claim.encoder or "", ", then ".join(began),
            f"`{claim.method}`" if claim.method != "finetune" else what, percent(answered(claim)), percent(probe),
            f"{found['training_cpu_minutes']:.1f}",
        ])  # fmt: skip
    cells.sort(key=lambda row: (row[0], row[1].zfill(5), -float(row[5])))
    header = ["data", "labels", "encoder", "pretraining", "training", "accuracy", "linear probe", "CPU min"]
    return table(header, cells)


def actions() -> str:
    """Accuracy on videos with frame and clip encoders, by pretraining, and that of the majority class."""
    chance = {claim.on: found["chance"] for claim, found in measured("order")}
    cells = []
    for claim, found in measured("starts"):
        if claim.data[0] != "videos":
            continue
        _, name, *frames = claim.data
        frozen, scratch = claim.settings.get("freeze") == "all", claim.settings.get("probe") is False
        probe = next((row["value"] for row in found["results"] if row["protocol"] == "linear"), None)
        cells.append([
            f"`{name}`", f"`{claim.encoder}`" + ", two frames" * (frames == [2]),
            f"`{claim.start.method}`" if claim.start else "none",
            "frozen encoder" if frozen else "from scratch" if scratch else
            "fine-tuning, full learning rate" if "encoder_lr" in claim.settings else "fine-tuning",
            percent(answered(claim)), percent(probe), percent(chance.get(name)), f"{found['training_cpu_minutes']:.1f}",
        ])  # fmt: skip
    cells.sort(key=lambda row: (row[0], -float(row[4])))
    header = ["videos", "encoder", "pretraining", "training", "accuracy", "linear probe", "majority class", "CPU min"]
    return table(header, cells)


def catching_up() -> str:
    """Accuracy with all labels by training length, fine-tuned and from scratch."""
    found: dict[float, dict[str, str]] = {}
    for claim, _ in measured("catching-up"):
        found.setdefault(claim.epochs, {})["fine-tuned" if claim.start else "from scratch"] = percent(answered(claim))
    columns = ["from scratch", "fine-tuned"]
    rows = [[f"{epochs:g}", *(cells.get(name, "") for name in columns)] for epochs, cells in sorted(found.items())]
    return table(["epochs", "from scratch", "fine-tuned after `simclr`"], rows)
