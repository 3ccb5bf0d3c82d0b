"""Tables of transfer between domains and tasks."""

from parts.reading import answered, measured, percent, result, table, values


def translation() -> str:
    """Accuracy of a USPS classifier on translated digits."""
    shown = {
        "translated": "translated", "source as it is": "not translated",
        "translated, untrained": "untrained translator", "true images of the target": "real USPS",
    }  # fmt: skip
    cells = [
        [str(claim.seed), *(percent(found[name]) for name in shown),
         " to ".join(f"{error:.3f}" for error in found["cycle error"])]
        for claim, found in measured("translation")
    ]  # fmt: skip
    return table(["seed", *shown.values(), "cycle error"], cells)


def refinement() -> str:
    """Accuracy of classifiers trained and tested on simulated, refined and real digits."""
    cells = []
    for claim, found in measured("refinement"):
        of = (
            ("real", "as they are"),
            ("real", "refined"),
            ("real", "real"),
            ("as they are", "real"),
            ("refined", "real"),
        )
        scores = [percent(found[f"{asked} read by who learned from {known}"]) for asked, known in of]
        weight = str(found["parameters"]["weight"])
        cells.append([weight, f"{claim.epochs:g}", str(claim.seed), f"{found['change']:.2f}", *scores])
    header = ["weight", "epochs", "seed", "change", "simulated to real", "refined to real", "real to real"]
    return table([*header, "real to simulated", "real to refined"], cells)


def style() -> str:
    """Errors of style and content, by encoder."""
    cells = []
    for row in result("style").get("rows", ()):
        own = [f"{row[name]:.2f}" if name in row else "" for name in ("style before", "style after", "content")]
        nearest = percent(row.get("nearest content is its own"))
        cells.append([row["encoder"], *own, nearest, f"{row['judged style']:.2f}", f"{row['judged content']:.2f}"])
    header = ["encoder", "style error before", "style error after", "content error", "own content is nearest"]
    return table([*header, "judged style error", "judged content error"], cells)


def transfer() -> str:
    """Frozen encoders on classes, masks and boxes, with the same encoder randomly initialised."""
    measures = ("photo.parquet linear accuracy", "camvid segmentation mean IoU", "bccd detection AP50")
    cells, rows = [], result("transfer").get("rows", ())
    for row in rows:
        title = f"`{row['method']}`" if "method" in row else row["run"]
        cells.append([title, *(percent(row.get(measure)) for measure in measures)])
        if row is rows[0]:
            cells.insert(0, ["untrained", *(percent(row.get(f"{measure} untrained")) for measure in measures)])
    return table(["training", "PACS photos, accuracy", "CamVid, mean IoU", "BCCD, AP50"], cells)


def domains() -> str:
    """Accuracy in the target domain."""
    cells = []
    for claim, _ in measured("domains"):
        source, target = claim.controls
        scores = [percent(answered(row)) for row in (source, claim, target)]
        cells.append([" to ".join(claim.data[1:]), f"`{claim.encoder}`", str(claim.seed), f"{claim.epochs:g}", *scores])
    header = ["domains", "encoder", "seed", "epochs", "source only", "`dann`", "target labels"]
    return table(header, cells)


def weights() -> str:
    """Accuracy and mutual information of predictions in the target domain, by the weight of the domain loss."""
    cells = []
    for claim, found in measured("weights"):
        scores = [percent(row["value"]) for row in found["results"]]
        cells.append([" to ".join(claim.data[1:]), str(claim.seed), f"{claim.settings['weight']:g}", *scores])
    return table(["domains", "seed", "weight", "accuracy", "mutual information"], cells)


def plan() -> str:
    """Gain and quality of plans, of random plans, and of one source for all targets."""
    found, names = result("plan"), ("gain", "quality")
    cells = [
        [
            f"plan, {row['budget']}",
            *(percent(row[name]) for name in names),
            *(percent(row["random"][name]) for name in names),
        ]
        for row in found.get("budgets", ())
    ]
    others = {"imagenet": "ImageNet", "fresh weights": "random weights", "own networks": "the target's own network"}
    cells += [[said, *(percent(found[row][name]) for name in names), "", ""] for row, said in others.items() if found]
    return table(["trained tasks", "gain", "quality", "random plan, gain", "random plan, quality"], cells)


def generalization() -> str:
    """Accuracy in the held-out domain."""
    cells = [
        [claim.data[1], f"`{claim.encoder}`", str(claim.seed), f"{claim.epochs:g}", *map(percent, map(answered, rows))]
        for claim, _ in measured("generalization")
        for rows in [(*claim.controls, claim)]
    ]
    return table(["held-out domain", "encoder", "seed", "epochs", "without puzzles", "`jigen`"], cells)


def tasks() -> str:
    """Accuracy, R2 or IoU per task, of one network for all tasks and of one network per task."""
    cells = []
    for claim, found in measured("tasks"):
        alone = {row["column"]: row for other in claim.controls if not other.like
                 for row in result(other.name).get("results", ()) if row["by"] == "answers"}  # fmt: skip
        probed = [row for other in claim.controls if other.like for row in result(other.name).get("results", ())]
        by = values([*found["results"], *probed], "encoder", "column", "by")
        for column, metric in {row["column"]: row["metric"] for row in found["results"]}.items():
            of = ("trained", column, "answers"), ("untrained", column, "features"), ("pixels", column, "features")
            own = percent(alone[column]["value"] if column in alone else None)
            said, fresh, raw = (percent(by.get(each)) for each in of)
            balance = claim.settings.get("balance", "fixed")
            cells.append([claim.data[-1], f"`{balance}`", f"{claim.epochs:g}", column, metric, said, own, fresh, raw])
    header = ["data", "balance", "epochs", "task", "metric", "one network", "a network each", "untrained", "pixels"]
    return table(header, cells)


def segmentation() -> str:
    """Mean IoU and pixel accuracy, by pretraining, and of the controls."""
    return _from_starts("segmentation", {"mean IoU": "mean IoU", "pixel accuracy": "pixel accuracy"})


def detection() -> str:
    """Average precision, by pretraining, and of the controls."""
    return _from_starts("detection", {"AP": "AP", "AP50": "AP50"})


def _from_starts(group: str, metrics: dict[str, str]) -> str:
    """The rows of a group by pretraining, and of its controls, with the headings of its metrics."""
    cells = []
    rows = [(claim, found.get("results", ())) for claim, found in measured(group)]
    rows += [(each, result(each.name).get("results", ())) for each in (rows[0][0].controls if rows else ())]
    for claim, results in rows:
        by = values(results, "encoder", "by", "metric")
        for name, said in dict.fromkeys((name, said) for name, said, _ in by):
            start = (
                f"`{claim.start.method}`" if claim.start else "pretrained weights" * ("pretrained" in claim.settings)
            )
            how = ", frozen" * ("freeze" in claim.settings)
            how += ", at a lower learning rate" * ("encoder_lr" in claim.settings)
            trained = {"trained": f"`{claim.method}`{how}"}.get(name, name)
            scores = [percent(by[name, said, metric]) for metric in metrics]
            cells.append([f"`{claim.encoder}`" if claim.encoder else "", start, trained, said or "", *scores])
    return table(["encoder", "pretraining", "method", "output", *metrics.values()], cells)


def weather() -> str:
    """Mean IoU in the unlabelled domain, with source masks only, with the method, and with target masks; entropies."""
    cells = []
    for claim, found in measured("weather"):
        scores = []
        for row in (claim.controls[0], claim, claim.controls[1]):
            scores.append(
                percent(values(result(row.name).get("results", ()), "by", "metric").get(("masks", "mean IoU")))
            )
        mode = claim.settings.get("mode", "advent") + ", with an inner head" * ("inner" in claim.settings)
        mode += f", weight {claim.settings['weight']:g}" if "weight" in claim.settings else ""
        doubts = [percent(result(row.name).get("entropy")) for row in (claim.controls[0], claim)]
        metrics = found["training"]["metrics"].items()
        classes = [f"{value:.1f}" for name, value in metrics if name.endswith("target_classes")]
        cells.append([" to ".join(claim.data[1:]), mode, *scores, *doubts, *classes])
    entropies = "entropy, source only", "entropy, `advent`", "predicted classes"
    return table(["domains", "mode", "source only", "`advent`", "target masks", *entropies], cells)
