"""Write the generated parts of README.md and of the pages in docs from the code and from benchmarks/results.

python docs/tables.py            write them
python docs/tables.py --check    fail where they are out of date
"""

import json
import re
import sys
from pathlib import Path

import withhold

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def results(pattern: str) -> list[dict]:
    """What the claims of a pattern found, in the order of their names."""
    return [json.loads(path.read_text())["result"] for path in sorted(RESULTS.glob(f"{pattern}.json"))]


def percent(value: float | None, deviation: float | None = None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" + (f" ± {100 * deviation:.1f}" if deviation is not None else "")


def values(rows: list[dict], *keys: str) -> dict[tuple, float]:
    """The values of rows by what their `keys` are."""
    return {tuple(row.get(key) for key in keys): row["value"] for row in rows}


def methods() -> str:
    rows = [
        [f"`{card['name']}`", card["family"], card["about"].split("\n")[0], card["paper"]]
        for card in withhold.methods()
    ]
    return table(["method", "family", "what is withheld, what is predicted", "paper"], rows)


def claims() -> str:
    """One line a claim, best first; each beside the controls of the same encoder."""
    found, rows = results("claims/*"), []
    for encoder in sorted({claim["encoder"] for claim in found}):
        of_encoder = [claim for claim in found if claim["encoder"] == encoder]
        of_encoder.sort(key=lambda claim: -value(claim, "linear"))
        for claim in of_encoder:
            cells = [shown(claim, protocol, shots) for protocol, shots in COLUMNS]
            minutes = claim.get("training_cpu_minutes")
            rows.append([
                f"`{claim['method']}`", encoder, str(claim["seed"]), *cells,
                f"{claim['epochs']:g}" if minutes else "", f"{minutes:.1f}" if minutes else "",
            ])  # fmt: skip
    return table(
        ["encoder trained by", "encoder", "seed", "k-NN", "linear", "10 labels a class", "epochs", "CPU minutes"], rows
    )


COLUMNS = [("knn", None), ("linear", None), ("lowshot", 10)]


def value(claim: dict, protocol: str, shots: int | None = None) -> float:
    rows = [r for r in claim["results"] if r["protocol"] == protocol and r.get("shots") == shots]
    return rows[0]["value"] if rows else float("nan")


def shown(claim: dict, protocol: str, shots: int | None) -> str:
    rows = [r for r in claim["results"] if r["protocol"] == protocol and r.get("shots") == shots]
    if not rows:
        return ""
    return percent(rows[0]["value"], rows[0].get("deviation"))


def speeds() -> str:
    """SimCLR's views a second beside the peers', by size and threads."""
    rows = results("views")[0]["rows"]
    cells = [
        [
            f"{r['size']}",
            r["contender"],
            str(r["threads"]),
            f"{r['views_per_second']:,}",
            f"{r['withhold_is_faster_by']}",
        ]
        for r in rows
    ]
    return table(["pixels", "library", "threads", "views a second", "withhold is faster by"], cells)


def memory() -> str:
    rows = results("memory")[0]["walks"]
    cells = [
        [f"{r['images']:,}", f"{r['private_mb']}", f"{r['mapped_mb']}", f"{r['first_batch_seconds']:.3f}"] for r in rows
    ]
    return table(["cached images", "own memory, MB", "mapped file pages, MB", "seconds to the first batch"], cells)


def training() -> str:
    """A training step's parts, and its speed and memory beside the peer's."""
    result = results("train")[0]
    shares = result["withhold"]["shares"]
    parts = table(list(shares), [[f"{100 * share:.1f} %" for share in shares.values()]])
    speeds = [
        [name, f"{found['items_per_second']:.1f}", f"{found['peak_rss_mb']:,}"]
        for name, found in (("withhold", result["withhold"]), ("lightly", result["peer"]))
    ]
    return parts + "\n\n" + table(["library", "images a second", "peak memory, MB"], speeds)


def steps() -> str:
    """The parts of other methods' steps."""
    parts = ("data", "views", "forward", "backward", "optimizer", "after_step", "rest")
    cells = []
    for found in (result["withhold"] for result in results("train-*")):
        outside = percent(found["outside_forward_and_backward"])
        shares = [percent(found["shares"][part]) for part in parts]
        cells.append([f"`{found['method']}`", found["encoder"], *shares, outside])
    header = ["method", "encoder", *(part.replace("_", " ") for part in parts), "outside forward and backward"]
    return table(header, cells)


def videos() -> str:
    """How fast videos are decoded, and read from the cache."""
    found = results("video")[0]
    speeds = [f"{found[name]:,}" for name in ("frames_per_second_cold", "frames_per_second_cached")]
    header = ["frames a second, cold", "from the cache", "ms a batch", "of 95 in 100 batches at most"]
    return table(header, [[*speeds, f"{found['milliseconds_a_batch']}", f"{found['of_95_in_100_batches_at_most']}"]])


def sounds() -> str:
    """How long spectrograms take, beside scipy's."""
    rows = results("audio")[0]["rows"]
    cells = [[r["contender"], str(r["threads"]), f"{r['milliseconds']:.1f}", f"{r['best']:.1f}"] for r in rows]
    return table(["library", "threads", "median, ms", "best, ms"], cells)


def search() -> str:
    """How long the nearest take to find among how many, and how many of them are found."""
    rows = results("search")[0]["rows"]
    cells = [
        [r["vectors"], r["search"], f"{r['median_ms']:,}", f"{r['slowest_ms']:,}", f"{r['recall']:.3f}"] for r in rows
    ]
    built = [
        [r["vectors"], f"{r['build_seconds']}", f"{r['index_mb']:,}"] for r in rows if r["search"] == "approximate"
    ]
    header = ["vectors", "search", "median, ms", "slowest, ms", "recall@10"]
    return table(header, cells) + "\n\n" + table(["vectors", "seconds to build", "on disk, MB"], built)


def words() -> str:
    """Word vectors beside gensim's, of the same text with the same settings."""
    result = results("words/wiki-sample-0")[0]
    cells = []
    for name in ("withhold", "gensim", "untrained"):
        found = result[name]
        speed = f"{found['words_per_second']:,}" if "words_per_second" in found else ""
        close = [f"{found[data]['spearman']:.3f}" for data in ("wordsim353", "simlex999")]
        right = [f"{100 * found[kind]['accuracy']:.1f}" if kind in found else "" for kind in ("semantic", "syntactic")]
        cells.append([name, speed, *close, *right])
    return table(["vectors of", "words a second", "WordSim-353", "SimLex-999", "semantic", "syntactic"], cells)


def order() -> str:
    """What the order of frames taught about what moves, beside fresh weights and raw frames."""
    cells = []
    for found in results("video/fights-*") + results("video/words-*"):
        by = values(found["results"], "encoder", "protocol")
        for encoder in dict.fromkeys(row["encoder"] for row in found["results"]):
            scores = [percent(by.get((encoder, protocol))) for protocol in ("knn", "linear")]
            cells.append([f"`{found['data']}`", str(found["seed"]), encoder, *scores, percent(found["chance"])])
    return table(["videos", "seed", "features", "k-NN", "linear", "largest class"], cells)


def tracking() -> str:
    """J and F of the DAVIS sequences by what carries the masks."""
    cells = []
    for found in results("tracking/*"):
        means = [row for row in found["results"] if "sequence" not in row]
        by = values(means, "encoder", "metric")
        for encoder in dict.fromkeys(row["encoder"] for row in means):
            cells.append([
                f"`{found['trained on']}`", str(found["seed"]), encoder, percent(by[encoder, "J"]),
                percent(by[encoder, "F"]),
            ])  # fmt: skip
    return table(["trained on", "seed", "masks carried by", "J", "F"], cells)


def frames() -> str:
    """Errors of predicted frames, a row a predictor, the best first."""
    cells = []
    for found in results("video/moving-mnist-*"):
        name = found["parameters"]["predicts"] + (", conditional" if found["parameters"]["conditional"] else "")
        for row in found["results"]:
            if row["predictor"] == "network" or name == "composite":
                said = f"network, {name}" if row["predictor"] == "network" else row["predictor"]
                cells.append([said, f"{row['squared_error']:.1f}", f"{row['cross_entropy']:.1f}"])
    cells.sort(key=lambda row: float(row[1]))
    return table(["predictor", "squared error", "cross-entropy, nats"], cells)


def crossmodal() -> str:
    """How well pictures find sounds, and the other way."""
    cells = []
    for found in results("audiovisual/embedding-*") + results("audiovisual/contrastive-*"):
        for row in found["results"]:
            if row["direction"] in ("picture to sound", "sound to picture"):
                cells.append([
                    found["claim"], str(found["seed"]), row["encoder"], row["direction"], f"{row['value']:.3f}",
                    f"{row['chance']:.3f}", percent(row["recall_at_1"]), percent(row["chance_at_1"]),
                ])  # fmt: skip
    return table(["claim", "seed", "encoder", "direction", "nDCG@30", "chance", "recall@1", "chance at 1"], cells)


def localization() -> str:
    """Where the spoken digit is, beside guesses."""
    shown = (
        "pointing",
        "with another's sound",
        "random place",
        "random digit",
        "middle",
        "brightest",
        "match_accuracy",
    )
    cells = [[str(found["seed"]), *(percent(found[name]) for name in shown)] for found in results("audiovisual/local*")]
    return table(["seed", *(name.replace("_", " ") for name in shown)], cells)


def masked() -> str:
    """The perplexity of masked tokens, beside that of knowing how often each occurs."""
    cells = [
        [str(found["seed"]), f"{found['perplexity']:.0f}", f"{found['unigram_perplexity']:.0f}",
         percent(found["next_accuracy"])]
        for found in results("bert/wikitext-*")
    ]  # fmt: skip
    return table(["seed", "perplexity", "of frequencies", "halves told apart"], cells)


def topics() -> str:
    """Topics of news from a few labels."""
    cells = []
    for found in results("bert/ag_news-*"):
        rows = {(row["encoder"], row["shots"]): row for row in found["results"] if row["protocol"] == "lowshot"}
        for encoder in dict.fromkeys(encoder for encoder, _ in rows):
            scores = [percent(rows[encoder, n]["value"], rows[encoder, n]["deviation"]) for n in (1, 5, 10)]
            cells.append([str(found["seed"]), encoder, *scores])
    return table(["seed", "features", "1 label a class", "5", "10"], cells)


def translation() -> str:
    """What a reader of USPS makes of digits."""
    shown = ("translated", "source as it is", "translated, untrained", "true images of the target")
    cells = [
        [str(found["seed"]), *(percent(found[name]) for name in shown),
         " to ".join(f"{error:.3f}" for error in found["cycle error"])]
        for found in results("translation/*")
    ]  # fmt: skip
    return table(["seed", *shown, "cycle error"], cells)


def fewlabels() -> str:
    """Accuracy from few labels with and without the unlabelled rest."""
    alone = {}
    for found in results("fewlabels/*-alone-*"):
        alone[found["data"], found["labels"], found["as"], found["seed"]] = found
    cells = []
    for found in results("fewlabels/*"):
        if found["method"] != "labels alone":
            key = found["data"], found["labels"], found["as"], found["seed"]
            by = [values(each["results"], "encoder", "protocol") for each in (found, alone.get(key, {"results": []}))]
            scores = [percent(each.get(("trained", "classifier"))) for each in by]
            scores.append(percent(by[0].get(("tf-idf of words", "logistic"))))
            cells.append([
                f"`{found['data']}`", str(found["labels"]), f"`{found['as']}`", str(found["seed"]),
                f"{found['epochs']:g}", *scores, f"{found['training_cpu_minutes']:.0f}",
            ])  # fmt: skip
    header = ["data", "labels", "method", "seed", "epochs", "with the rest", "labels alone", "TF-IDF", "CPU minutes"]
    return table(header, cells)


def domains() -> str:
    """Accuracy in the target domain."""
    cells: dict[tuple, dict] = {}
    for found in results("domains/*"):
        by = values(found["results"], "encoder", "protocol")
        row = cells.setdefault((found["pair"], found["encoder"], found["seed"], found["epochs"]), {})
        row[found["method"]] = by["trained", "classifier"]
    shown = ("source only", "dann", "target labels")
    rows = [
        [pair.replace("-", " to "), f"`{encoder}`", str(seed), f"{epochs:g}", *(percent(by.get(n)) for n in shown)]
        for (pair, encoder, seed, epochs), by in cells.items()
    ]
    header = ["domains", "encoder", "seed", "epochs", "source only", "`dann`", "target's labels"]
    return table(header, rows)


def retrieval() -> str:
    """Mean average precision of each pooling, plain and whitened."""
    cells = []
    for found in results("retrieval/*"):
        by = values(found["results"], "encoder", "pooling", "whitened")
        for encoder, pooling in dict.fromkeys((row["encoder"], row["pooling"]) for row in found["results"]):
            scores = [percent(by[encoder, pooling, white]) for white in (False, True)]
            cells.append([f"`{found['data']}`", str(found["seed"]), encoder, pooling, *scores])
    return table(["data", "seed", "features", "pooling", "mAP", "whitened"], cells)


PARTS = {
    part.__name__: part
    for part in (
        methods, claims, words, speeds, memory, training, steps, videos, sounds, search, order, tracking, frames,
        crossmodal, localization, masked, topics, translation, fewlabels, domains, retrieval,
    )
}  # fmt: skip


def filled(text: str) -> str:
    """`text` with every `<!-- NAME: ... --> ... <!-- end -->` written afresh."""

    def fill(match: re.Match) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- (\w+): .*? -->)\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main() -> int:
    stale = False
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if before != after and "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is out of date: run python docs/tables.py")
            stale = True
        elif before != after:
            path.write_text(after, encoding="utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
