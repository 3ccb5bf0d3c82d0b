"""What goes from one domain, or one task, to another."""

from parts.reading import answered, beside, measured, percent, result, table, values


def translation() -> str:
    """What a reader of USPS makes of digits."""
    shown = ("translated", "source as it is", "translated, untrained", "true images of the target")
    cells = [
        [str(claim.seed), *(percent(found[name]) for name in shown),
         " to ".join(f"{error:.3f}" for error in found["cycle error"])]
        for claim, found in measured("translation")
    ]  # fmt: skip
    return table(["seed", *shown, "cycle error"], cells)


def refinement() -> str:
    """How many real digits are read after simulated ones, and how many refined ones stay what they were."""
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
    header = ["weight", "epochs", "seed", "change", "real, after simulated", "real, after refined", "real, after real"]
    return table([*header, "simulated, after real", "refined, after real"], cells)


def domains() -> str:
    """Accuracy in the target domain."""
    cells = []
    for claim, _ in measured("domains"):
        source, target = claim.controls
        scores = [percent(answered(row)) for row in (source, claim, target)]
        cells.append([" to ".join(claim.data[1:]), f"`{claim.encoder}`", str(claim.seed), f"{claim.epochs:g}", *scores])
    header = ["domains", "encoder", "seed", "epochs", "source only", "`dann`", "target's labels"]
    return table(header, cells)


def weights() -> str:
    """Accuracy in the target domain, and the information in the answers there, by how strongly the domain is hidden."""
    cells = []
    for claim, found in measured("weights"):
        scores = [percent(row["value"]) for row in found["results"]]
        cells.append([" to ".join(claim.data[1:]), str(claim.seed), f"{claim.settings['weight']:g}", *scores])
    return table(["domains", "seed", "weight", "accuracy", "information"], cells)


def plan() -> str:
    """Gain and quality of plans, of random ones, and of what serves all targets alike."""
    found, names = result("plan"), ("gain", "quality")
    cells = [
        [
            f"plan of {row['budget']}",
            *(percent(row[name]) for name in names),
            *(percent(row["random"][name]) for name in names),
        ]
        for row in found.get("budgets", ())
    ]
    others = {"imagenet": "ImageNet", "fresh weights": "fresh weights", "own networks": "the target's own network"}
    cells += [[said, *(percent(found[row][name]) for name in names), "", ""] for row, said in others.items() if found]
    return table(["tasks that are learned", "gain", "quality", "random gain", "random quality"], cells)


def generalization() -> str:
    """Accuracy in the domain that was left out."""
    cells = [
        [claim.data[1], f"`{claim.encoder}`", str(claim.seed), f"{claim.epochs:g}", *map(percent, map(answered, rows))]
        for claim, _ in measured("generalization")
        for rows in [(*claim.controls, claim)]
    ]
    return table(["left out", "encoder", "seed", "epochs", "no puzzles", "`jigen`"], cells)


def tasks() -> str:
    """What each column is worth to networks of all columns, and to one of its own."""
    cells = []
    for claim, found in measured("tasks"):
        alone = {row["column"]: row for other in claim.controls if len(other.data) > 2
                 for row in result(other.name)["results"] if row["by"] == "answers"}  # fmt: skip
        by = values(beside(claim), "encoder", "column", "by")
        for column, metric in {row["column"]: row["metric"] for row in found["results"]}.items():
            of = ("trained", column, "answers"), ("untrained", column, "features"), ("pixels", column, "features")
            own = percent(alone[column]["value"] if column in alone else None)
            said, fresh, raw = (percent(by.get(each)) for each in of)
            balance = claim.settings.get("balance", "fixed")
            cells.append([claim.data[1], f"`{balance}`", f"{claim.epochs:g}", column, metric, said, own, fresh, raw])
    header = ["data", "balance", "epochs", "column", "metric", "all in one", "one each", "untrained", "pixels"]
    return table(header, cells)


def segmentation() -> str:
    """The mean IoU and the share of pixels named rightly, of each start and of the controls."""
    return _from_starts("segmentation", {"mean IoU": "mean IoU", "pixel accuracy": "pixels"})


def detection() -> str:
    """The average precision, of each start and of the controls."""
    return _from_starts("detection", {"AP": "AP", "AP50": "AP50"})


def _from_starts(group: str, metrics: dict[str, str]) -> str:
    """What a group measured of each start and of the controls, with the headings of its metrics."""
    cells = []
    rows = [(claim, found.get("results", ())) for claim, found in measured(group)]
    rows += [(each, result(each.name).get("results", ())) for each in (rows[0][0].controls if rows else ())]
    for claim, results in rows:
        by = values(results, "encoder", "by", "metric")
        for name, said in dict.fromkeys((name, said) for name, said, _ in by):
            start = f"`{claim.start.method}`" if claim.start else "published" * ("pretrained" in claim.settings)
            trained = {"trained": f"`{claim.method}`" + ", frozen" * ("freeze" in claim.settings)}.get(name, name)
            scores = [percent(by[name, said, metric]) for metric in metrics]
            cells.append([f"`{claim.encoder}`" if claim.encoder else "", start, trained, said or "", *scores])
    return table(["encoder", "start", "trained by", "told by", *metrics.values()], cells)


def weather() -> str:
    """The mean IoU in the domain without masks, beside masks of the source alone and of the target."""
    cells = []
    for claim, _ in measured("weather"):
        scores = []
        for row in (claim.controls[0], claim, claim.controls[1]):
            scores.append(
                percent(values(result(row.name).get("results", ()), "by", "metric").get(("masks", "mean IoU")))
            )
        mode = claim.settings.get("mode", "advent") + ", with an inner head" * ("inner" in claim.settings)
        cells.append([" to ".join(claim.data[1:]), mode, *scores])
    return table(["domains", "mode", "source only", "`advent`", "target's masks"], cells)
