"""Tables of video, audio and text methods."""

from parts.reading import beside, measured, percent, result, table, values


def hearing() -> str:
    """Linear probe accuracy on frozen audio features."""
    rows = result("hearing")["rows"]
    by = {(r["features"], r["data"]): percent(r["accuracy"]) for r in rows}
    names = dict.fromkeys(r["features"] for r in rows)
    return table(["features", "ESC-10", "FSDD"], [[f"`{n}`", by[n, "esc10"], by[n, "fsdd"]] for n in names])


def words() -> str:
    """Word vectors of withhold and of gensim, trained on the same text with the same settings."""
    cells = []
    for claim, found in measured("words"):
        gensim = result(claim.controls[0].name)
        for name, speed, row in (
            ("withhold", found["words_per_second"], found["trained"]), ("gensim", gensim["words_per_second"], gensim),
            ("untrained", None, found["untrained"]),
        ):  # fmt: skip
            close = [f"{row[data]['spearman']:.3f}" for data in ("wordsim353", "simlex999")]
            right = [percent(row.get(kind, {}).get("accuracy")) for kind in ("semantic", "syntactic")]
            cells.append([name, f"{speed:,}" if speed else "", *close, *right])
    return table(
        ["library", "words/s", "WordSim-353", "SimLex-999", "semantic analogies", "syntactic analogies"], cells
    )


def order() -> str:
    """Accuracy on videos of features trained on frame order, of untrained features and of raw frames."""
    cells = []
    for claim, found in measured("order"):
        by = values(beside(claim), "encoder", "protocol")
        for encoder in dict.fromkeys(encoder for encoder, _ in by):
            scores = [percent(by.get((encoder, protocol))) for protocol in ("knn", "linear")]
            cells.append([f"`{claim.on}`", str(claim.seed), encoder, *scores, percent(found["chance"])])
    return table(["videos", "seed", "features", "k-NN", "linear probe", "majority class"], cells)


def tracking() -> str:
    """J and F on DAVIS by the features that propagate the masks."""
    cells = []
    for claim, _ in measured("tracking"):
        by = values([row for row in beside(claim) if "sequence" not in row], "encoder", "metric")
        for encoder in dict.fromkeys(encoder for encoder, _ in by):
            scores = [percent(by[encoder, metric]) for metric in ("J", "F")]
            cells.append([f"`{claim.on}`", str(claim.seed), encoder, *scores])
    return table(["trained on", "seed", "features", "J", "F"], cells)


def frames() -> str:
    """Errors of predicted frames, a row per predictor, the best first."""
    names, cells = {"nothing": "black frame"}, {}
    for claim, found in measured("frames"):
        for row in found["results"]:
            network = row["predictor"] == "network"
            other = names.get(row["predictor"], row["predictor"])
            said = f"network, {claim.settings['predicts']}" if network else other
            cells[said] = [said, f"{row['squared_error']:.1f}", f"{row['cross_entropy']:.1f}"]
    return table(
        ["predictor", "squared error", "cross-entropy, nats"], sorted(cells.values(), key=lambda row: float(row[1]))
    )


def crossmodal() -> str:
    """Retrieval of sounds by images, and of images by sounds."""
    cells = [
        [claim.settings["objective"], str(claim.seed), row["encoder"], row["direction"].replace("picture", "image"),
         f"{row['value']:.3f}", f"{row['chance']:.3f}", percent(row["recall_at_1"]), percent(row["chance_at_1"])]
        for claim, _ in measured("pairs") for row in beside(claim)
        if row["direction"] in ("picture to sound", "sound to picture")
    ]  # fmt: skip
    return table(
        ["objective", "seed", "encoder", "direction", "nDCG@30", "chance nDCG@30", "recall@1", "chance recall@1"], cells
    )


def localization() -> str:
    """Localisation of the spoken digit, and baselines."""
    shown = {
        "pointing": "pointing accuracy", "with another's sound": "with another sound", "random place": "random place",
        "random digit": "random digit", "middle": "image centre", "brightest": "brightest area",
        "match_accuracy": "match accuracy",
    }  # fmt: skip
    cells = [[str(claim.seed), *(percent(found[name]) for name in shown)] for claim, found in measured("localization")]
    return table(["seed", *shown.values()], cells)


def masked() -> str:
    """Perplexity of masked tokens, and that of token frequencies."""
    cells = [
        [str(claim.seed), f"{found['perplexity']:.0f}", f"{found['unigram_perplexity']:.0f}",
         percent(found["next_accuracy"])]
        for claim, found in measured("masked")
    ]  # fmt: skip
    return table(["seed", "perplexity", "unigram perplexity", "next-half accuracy"], cells)


def topics() -> str:
    """Accuracy on news topics with few labels."""
    cells = []
    for claim, _ in measured("topics"):
        rows = {(row["encoder"], row["shots"]): row for row in beside(claim) if row["protocol"] == "lowshot"}
        for encoder in dict.fromkeys(encoder for encoder, _ in rows):
            scores = [percent(rows[encoder, n]["value"], rows[encoder, n]["deviation"]) for n in (1, 5, 10)]
            cells.append([str(claim.seed), encoder, *scores])
    return table(["seed", "features", "1 label/class", "5 labels/class", "10 labels/class"], cells)
