"""What was learned from videos, sounds and texts."""

from parts.reading import beside, measured, percent, result, table, values


def hearing() -> str:
    """What a linear probe makes of frozen features of sounds."""
    rows = result("hearing")["rows"]
    by = {(r["features"], r["data"]): percent(r["accuracy"]) for r in rows}
    names = dict.fromkeys(r["features"] for r in rows)
    return table(["features", "ESC-10", "FSDD"], [[f"`{n}`", by[n, "esc10"], by[n, "fsdd"]] for n in names])


def words() -> str:
    """Word vectors beside gensim's, of the same text with the same settings."""
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
    return table(["vectors of", "words a second", "WordSim-353", "SimLex-999", "semantic", "syntactic"], cells)


def order() -> str:
    """What the order of frames taught about what moves, beside fresh weights and raw frames."""
    cells = []
    for claim, found in measured("order"):
        by = values(beside(claim), "encoder", "protocol")
        for encoder in dict.fromkeys(encoder for encoder, _ in by):
            scores = [percent(by.get((encoder, protocol))) for protocol in ("knn", "linear")]
            cells.append([f"`{claim.on}`", str(claim.seed), encoder, *scores, percent(found["chance"])])
    return table(["videos", "seed", "features", "k-NN", "linear", "largest class"], cells)


def tracking() -> str:
    """J and F of the DAVIS sequences by what carries the masks."""
    cells = []
    for claim, _ in measured("tracking"):
        by = values([row for row in beside(claim) if "sequence" not in row], "encoder", "metric")
        for encoder in dict.fromkeys(encoder for encoder, _ in by):
            scores = [percent(by[encoder, metric]) for metric in ("J", "F")]
            cells.append([f"`{claim.on}`", str(claim.seed), encoder, *scores])
    return table(["trained on", "seed", "masks carried by", "J", "F"], cells)


def frames() -> str:
    """Errors of predicted frames, a row a predictor, the best first."""
    cells = {}
    for claim, found in measured("frames"):
        for row in found["results"]:
            network = row["predictor"] == "network"
            said = f"network, {claim.settings['predicts']}" if network else row["predictor"]
            cells[said] = [said, f"{row['squared_error']:.1f}", f"{row['cross_entropy']:.1f}"]
    return table(
        ["predictor", "squared error", "cross-entropy, nats"], sorted(cells.values(), key=lambda row: float(row[1]))
    )


def crossmodal() -> str:
    """How well pictures find sounds, and the other way."""
    cells = [
        [claim.settings["objective"], str(claim.seed), row["encoder"], row["direction"], f"{row['value']:.3f}",
         f"{row['chance']:.3f}", percent(row["recall_at_1"]), percent(row["chance_at_1"])]
        for claim, _ in measured("pairs") for row in beside(claim)
        if row["direction"] in ("picture to sound", "sound to picture")
    ]  # fmt: skip
    return table(["objective", "seed", "encoder", "direction", "nDCG@30", "chance", "recall@1", "chance at 1"], cells)


def localization() -> str:
    """Where the spoken digit is, beside guesses."""
    shown = (
        "pointing", "with another's sound", "random place", "random digit", "middle", "brightest", "match_accuracy",
    )  # fmt: skip
    cells = [[str(claim.seed), *(percent(found[name]) for name in shown)] for claim, found in measured("localization")]
    return table(["seed", *(name.replace("_", " ") for name in shown)], cells)


def masked() -> str:
    """The perplexity of masked tokens, beside that of knowing how often each occurs."""
    cells = [
        [str(claim.seed), f"{found['perplexity']:.0f}", f"{found['unigram_perplexity']:.0f}",
         percent(found["next_accuracy"])]
        for claim, found in measured("masked")
    ]  # fmt: skip
    return table(["seed", "perplexity", "of frequencies", "halves told apart"], cells)


def topics() -> str:
    """Topics of news from a few labels."""
    cells = []
    for claim, _ in measured("topics"):
        rows = {(row["encoder"], row["shots"]): row for row in beside(claim) if row["protocol"] == "lowshot"}
        for encoder in dict.fromkeys(encoder for encoder, _ in rows):
            scores = [percent(rows[encoder, n]["value"], rows[encoder, n]["deviation"]) for n in (1, 5, 10)]
            cells.append([str(claim.seed), encoder, *scores])
    return table(["seed", "features", "1 label a class", "5", "10"], cells)
