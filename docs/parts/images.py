"""Tables of image methods."""

from parts.reading import beside, measured, percent, result, table, values


def encoders() -> str:
    """Linear probe and k-NN on CIFAR-10, a row for each claim and control, sorted by encoder and accuracy."""
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
    header = ["method", "encoder", "seed", "k-NN", "linear probe", "10 labels/class", "epochs", "CPU min"]
    return table(header, [cells for *_, cells in sorted(lines)])


def pretrained() -> str:
    """Accuracy after continued training of pretrained weights, and of the weights alone; the best first."""
    found = {row.name: row for claim, _ in measured("from-pretrained") for row in (claim, *claim.controls)}
    lines = []
    for row in found.values():
        by = {each["protocol"]: each["value"] for each in result(row.name)["results"]}
        minutes = result(row.name).get("training_cpu_minutes")
        name = f"`{row.method}`"
        if row.like:
            name = "none (control)" if row.method == "start" else "none, on lightness only (control)"
        lines.append([
            name, percent(by["knn"]), percent(by["linear"]), f"{row.epochs:g}" if row.epochs else "",
            f"{minutes:.1f}" if minutes else "",
        ])  # fmt: skip
    lines.sort(key=lambda row: -float(row[2]))
    return table(["method", "k-NN", "linear probe", "epochs", "CPU min"], lines)


def clusters() -> str:
    """Agreement of clusters with classes, and that of k-means on untrained features and on pixels."""
    cells = []
    for claim, _ in measured("clusters"):
        rows = [row for row in beside(claim) if row["protocol"] == "clustering"]
        by = values(rows, "encoder", "metric")
        for encoder in dict.fromkeys(row["encoder"] for row in rows):
            found = (
                f"`{claim.method}`"
                if encoder == "trained"
                else f"k-means on {encoder.replace('untrained', 'untrained features')}"
            )
            scores = [percent(by[encoder, "accuracy"]), *(f"{by[encoder, name]:.3f}" for name in ("NMI", "ARI"))]
            cells.append([f"`{claim.data[1]}`", str(claim.seed), found, *scores])
    return table(["data", "seed", "clustering", "accuracy", "NMI", "ARI"], cells)


def drawings() -> str:
    """Negative log-likelihood bounds of test images in nats."""
    shown = ("bound", "image", "code", "closer bound", "mean image")
    cells = [
        [f"`{claim.data[1]}`", str(claim.seed), *(f"{found[name]:.1f}" for name in shown)]
        for claim, found in measured("drawings")
    ]
    header = ["negative ELBO", "reconstruction", "KL", "64-sample bound", "mean image"]
    return table(["data", "seed", *header], cells)


def restoration() -> str:
    """Peak signal-to-noise ratio in decibels of restored photographs, by method and corruption."""
    cells = {}
    for claim, found in measured("restoration"):
        for who in found["dirt"]:
            name = (
                f"network, trained on {claim.settings['corruption']}"
                if who == "network"
                else {"as it is": "unrestored"}.get(who, who)
            )
            decibels = [found[seen][who] for seen in ("dirt", "rain", "clean")]
            cells[name] = [name, *("unchanged" if value == 100 else f"{value:.1f}" for value in decibels)]
    return table(["method", "dirt", "rain", "clean"], list(cells.values()))


def retrieval() -> str:
    """Mean average precision of each pooling, with and without whitening."""
    return table(["data", "seed", "features", "pooling", "mAP", "mAP, whitened"], _rankings("retrieval"))


def places() -> str:
    """The same for frames of places, and for the trained descriptor, which has its own whitening."""
    return table(["data", "seed", "features", "pooling", "mAP", "mAP, whitened"], _rankings("places"))


def _rankings(group: str) -> list[list[str]]:
    cells = []
    for claim, _ in measured(group):
        by = values(beside(claim), "encoder", "pooling", "whitened")
        learned = f"trained with {claim.settings['pooling']}" if "pooling" in claim.settings else "trained"
        for encoder, pooling in dict.fromkeys((encoder, pooling) for encoder, pooling, _ in by):
            plain, own, white = (percent(by.get((encoder, pooling, how))) for how in (False, None, True))
            name = learned if encoder == "trained" else encoder
            pooled = "" if encoder == "pixels" else pooling  # pixels are one vector
            cells.append([f"`{claim.on}`", str(claim.seed), name, pooled, plain, own or white])
    return list(map(list, dict.fromkeys(map(tuple, cells))))  # several claims share a control


def anomaly() -> str:
    """Detection of the held-out class, by methods and by baselines without a network."""
    cells = []
    for claim, found in measured("anomaly"):
        for row in (claim, *claim.controls):
            by = values(result(row.name).get("results", ()), "by", "metric")
            name = {"raw": "pixels", "untrained": f"`{claim.method}`, untrained"}.get(row.method, f"`{row.method}`")
            for said in dict.fromkeys(said for said, _ in by):
                scores = [percent(by[said, metric]) for metric in ("AUROC", "AP")]
                cells.append([claim.on, str(claim.seed), name, said, *scores])
        cells += [
            [claim.on, str(claim.seed), name, "", percent(found[key]), ""]
            for key, name in {"pixels' norm": "pixel norm", "64 principal components": "PCA, 64 components"}.items()
        ]
    return table(["data, held-out class", "seed", "method", "score", "AUROC", "AP"], cells)


def affinity() -> str:
    """Separation of patch pairs of the same class from other pairs, by score."""
    cells = []
    names = {
        "affinity": "trained", "untrained": "untrained", "colour": "mean colour", "nearness": "distance in the image",
    }  # fmt: skip
    for claim, found in measured("affinity"):
        told = found["told"]
        cells += [[str(claim.seed), names[name], percent(told[name])] for name in names]
    return table(["seed", "score", "AUROC"], cells)


def keypoints() -> str:
    """Error of regressed joints, by the regressor's input."""
    cells = []
    for claim, _ in measured("keypoints"):
        rows = beside(claim)
        cells += [[str(claim.seed), row["encoder"], row["by"], percent(row["value"])] for row in rows]
        cells.append([str(claim.seed), "mean of the training set", "", percent(rows[0]["chance"])])
    return table(["seed", "encoder", "regressed from", "error"], cells)
