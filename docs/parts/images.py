"""What was learned from images."""

from parts.reading import beside, measured, percent, result, table, values


def encoders() -> str:
    """One line a claim or control of CIFAR-10, best first; apart for each encoder."""
    found = {row.name: row for claim, _ in measured("encoders") for row in (claim, *claim.controls)}
    lines = []
    for row in (row for row in found.values() if row.on == "cifar10"):
        by = {(each["protocol"], each.get("shots")): each for each in result(row.name)["results"]}
        scores = [by.get(column, {}) for column in (("knn", None), ("linear", None), ("lowshot", 10))]
        minutes = result(row.name).get("training_cpu_minutes")
        words = ("pixels" if row.method == "raw" else row.method, *(f"{key}={to}" for key, to in row.settings.items()))
        cells = [
            f"`{' '.join(words)}`", row.encoder or "none", str(row.seed),
            *(percent(score.get("value"), score.get("deviation")) for score in scores),
            f"{row.epochs:g}" if row.epochs else "", f"{minutes:.1f}" if minutes else "",
        ]  # fmt: skip
        lines.append((cells[1], -scores[1]["value"], cells))
    header = ["encoder trained by", "encoder", "seed", "k-NN", "linear", "10 labels a class", "epochs", "CPU minutes"]
    return table(header, [cells for *_, cells in sorted(lines)])


def published() -> str:
    """What a training without labels makes of published weights, beside these as they are; the best first."""
    found = {row.name: row for claim, _ in measured("from-published") for row in (claim, *claim.controls)}
    lines = []
    for row in found.values():
        by = {each["protocol"]: each["value"] for each in result(row.name)["results"]}
        minutes = result(row.name).get("training_cpu_minutes")
        name = "the weights as they are" if row.like else f"`{row.method}`"
        lines.append([
            name, percent(by["knn"]), percent(by["linear"]), f"{row.epochs:g}" if row.epochs else "",
            f"{minutes:.1f}" if minutes else "",
        ])  # fmt: skip
    lines.sort(key=lambda row: -float(row[2]))
    return table(["trained on by", "k-NN", "linear", "epochs", "CPU minutes"], lines)


def clusters() -> str:
    """How well clusters agree with classes that nobody told, beside k-means of fresh features and of pixels."""
    cells = []
    for claim, _ in measured("clusters"):
        rows = [row for row in beside(claim) if row["protocol"] == "clustering"]
        by = values(rows, "encoder", "metric")
        for encoder in dict.fromkeys(row["encoder"] for row in rows):
            found = f"`{claim.method}`" if encoder == "trained" else f"k-means, {encoder}"
            scores = [percent(by[encoder, "accuracy"]), *(f"{by[encoder, name]:.3f}" for name in ("NMI", "ARI"))]
            cells.append([f"`{claim.data[1]}`", str(claim.seed), found, *scores])
    return table(["data", "seed", "clusters of", "accuracy", "NMI", "ARI"], cells)


def drawings() -> str:
    """What an image costs in nats."""
    shown = ("bound", "image", "code", "closer bound", "mean image")
    cells = [
        [f"`{claim.data[1]}`", str(claim.seed), *(f"{found[name]:.1f}" for name in shown)]
        for claim, found in measured("drawings")
    ]
    return table(["data", "seed", *shown], cells)


def restoration() -> str:
    """Decibels of photographs through a pane, restored by what was trained on what."""
    cells = {}
    for claim, found in measured("restoration"):
        for who in found["dirt"]:
            name = f"network, trained on {claim.settings['corruption']}" if who == "network" else who
            decibels = [found[seen][who] for seen in ("dirt", "rain", "clean")]
            cells[name] = [name, *("unchanged" if value == 100 else f"{value:.1f}" for value in decibels)]
    return table(["restored by", "dirt", "rain", "clean"], list(cells.values()))


def retrieval() -> str:
    """Mean average precision of each pooling, plain and whitened."""
    return table(["data", "seed", "features", "pooling", "mAP", "whitened"], _rankings("retrieval"))


def places() -> str:
    """The same of frames of places, and of the descriptor that was learned, whose whitening is its own."""
    return table(["data", "seed", "features", "pooling", "mAP", "whitened"], _rankings("places"))


def _rankings(group: str) -> list[list[str]]:
    cells = []
    for claim, _ in measured(group):
        by = values(beside(claim), "encoder", "pooling", "whitened")
        learned = f"trained with {claim.settings['pooling']}" if "pooling" in claim.settings else "trained"
        for encoder, pooling in dict.fromkeys((encoder, pooling) for encoder, pooling, _ in by):
            plain, own, white = (percent(by.get((encoder, pooling, how))) for how in (False, None, True))
            name = learned if encoder == "trained" else encoder
            cells.append([f"`{claim.on}`", str(claim.seed), name, pooling, plain, own or white])
    return list(map(list, dict.fromkeys(map(tuple, cells))))  # claims share their controls


def anomaly() -> str:
    """How well the class that was held out is told from the others, beside what needs no network."""
    cells = []
    for claim, found in measured("anomaly"):
        for row in (claim, *claim.controls):
            by = values(result(row.name).get("results", ()), "by", "metric")
            name = {"raw": "pixels", "untrained": f"`{claim.method}`, untrained"}.get(row.method, f"`{row.method}`")
            for said in dict.fromkeys(said for said, _ in by):
                scores = [percent(by[said, metric]) for metric in ("AUROC", "AP")]
                cells.append([claim.on, str(claim.seed), name, said, *scores])
        cells += [
            [claim.on, str(claim.seed), name, "", percent(found[name]), ""]
            for name in ("pixels' norm", "64 principal components")
        ]
    return table(["data, class held out", "seed", "trained by", "told by", "ROC", "AP"], cells)


def affinity() -> str:
    """How well pairs of patches of the same class are told from others, by what tells them."""
    cells = []
    names = {
        "affinity": "trained", "untrained": "untrained", "colour": "mean colours", "nearness": "nearness",
    }  # fmt: skip
    for claim, found in measured("affinity"):
        told = found["told"]
        cells += [[str(claim.seed), names[name], percent(told[name])] for name in names]
    return table(["seed", "told by", "ROC"], cells)


def keypoints() -> str:
    """How far off joints are, by what they are regressed from."""
    cells = []
    for claim, _ in measured("keypoints"):
        rows = beside(claim)
        cells += [[str(claim.seed), row["encoder"], row["by"], percent(row["value"])] for row in rows]
        cells.append([str(claim.seed), "mean of the training items", "", percent(rows[0]["chance"])])
    return table(["seed", "encoder", "regressed from", "error"], cells)
