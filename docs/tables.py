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
sys.path.insert(0, str(ROOT / "benchmarks"))
from claims.row import Claim  # noqa: E402
from claims.rows import CLAIMS  # noqa: E402

FROM = {
    "image": "images", "semisupervised": "few labels", "transfer": "labels", "dual": "two domains", "video": "videos",
    "audiovisual": "pictures with sound", "text": "texts",
}  # fmt: skip
"""What the methods of a folder learn from, in the order of the tables."""
STARTS = [claim.start for claim in CLAIMS]
"""The rows that others go on from."""


def table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def result(name: str) -> dict:
    """What a benchmark or a claim found; of one that was never run, nothing."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["result"] if path.exists() else {}


def measured(group: str) -> list[tuple[Claim, dict]]:
    """The claims of a group that were run, in the order of their rows, and what they found."""
    return [(claim, result(claim.name)) for claim in CLAIMS if claim.group == group and result(claim.name)]


def beside(claim: Claim) -> list[dict]:
    """The rows of a claim, and after them those of its controls."""
    return [row for each in (claim, *claim.controls) for row in result(each.name).get("results", ())]


def percent(value: float | None, deviation: float | None = None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" + (f" ± {100 * deviation:.1f}" if deviation is not None else "")


def values(rows: list[dict], *keys: str) -> dict[tuple, float]:
    """The values of rows by what their `keys` are."""
    return {tuple(row.get(key) for key in keys): row["value"] for row in rows}


def ordered() -> list[dict]:
    """The cards of all methods, by what they learn from, by family, and by name."""
    folders = list(FROM)
    return sorted(withhold.methods(), key=lambda card: (folders.index(card["folder"]), card["family"], card["name"]))


def methods() -> str:
    """The names of the methods, by what they learn from and by family."""
    rows: dict[tuple[str, str], list[str]] = {}
    for card in ordered():
        rows.setdefault((FROM[card["folder"]], card["family"]), []).append(f"`{card['name']}`")
    return table(["learns from", "family", "methods"], [[*group, ", ".join(names)] for group, names in rows.items()])


def cards() -> str:
    """A line a method."""
    rows = [
        [FROM[card["folder"]], card["family"], f"`{card['name']}`", card["about"].split("\n")[0], card["paper"]]
        for card in ordered()
    ]
    return table(["learns from", "family", "method", "what is withheld, what is predicted", "paper"], rows)


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


def speeds() -> str:
    """SimCLR's views a second beside the peers', by size and threads."""
    rows = result("views")["rows"]
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
    rows = result("memory")["walks"]
    cells = [
        [f"{r['images']:,}", f"{r['private_mb']}", f"{r['mapped_mb']}", f"{r['first_batch_seconds']:.3f}"] for r in rows
    ]
    return table(["cached images", "own memory, MB", "mapped file pages, MB", "seconds to the first batch"], cells)


def training() -> str:
    """A training step's parts, and its speed and memory beside the peer's, on two processors and a GPU."""
    machines = {"AMD EPYC, no AMX": "train", "Intel Xeon, AMX": "train-amx", "H100": "train-gpu"}
    found = {machine: result(name) for machine, name in machines.items()}
    parts = found["AMD EPYC, no AMX"]["withhold"]["shares"]
    shares = [
        [machine, *(f"{100 * each['withhold']['shares'][part]:.1f} %" for part in parts)]
        for machine, each in found.items() if "peer" in each
    ]  # fmt: skip
    speeds = []
    for machine, each in found.items():
        for library, name in (("withhold", "withhold"), ("lightly", "peer")):
            if name in each:
                ahead = f"{each['times_faster']}" if name == "withhold" and "peer" in each else ""
                rate, memory = each[name]["images_per_second"], each[name]["peak_rss_mb"]
                speeds.append([machine, library, f"{rate:,.1f}", ahead, f"{memory:,}"])
    gpu = found["H100"]["withhold"]
    speed = gpu["images_per_second"]
    return "\n\n".join([
        table(["machine", *parts], shares),
        table(["machine", "library", "images a second", "times lightly", "peak memory, MB"], speeds),
        f"An H100 takes {speed:,.0f} images a second, in batches of {gpu['batch_size']}, compiled and in bfloat16.\n"
        f"At that rate 200 epochs of CIFAR-10 are {200 * 50_000 / speed / 60:.1f} minutes; "
        "they have not been trained to the end yet.",
    ])  # fmt: skip


def steps() -> str:
    """The parts of other methods' steps."""
    parts = ("data", "views", "forward", "backward", "optimizer", "after_step", "rest")
    cells = []
    alone = [result(f"train-{name}")["withhold"] for name in ("cyclegan", "mixmatch", "uda")]
    for found in sorted(result("train-methods")["rows"], key=lambda row: -row["outside_forward_and_backward"]) + alone:
        outside = percent(found["outside_forward_and_backward"])
        shares = [percent(found["shares"][part]) for part in parts]
        cells.append([f"`{found['method']}`", found["encoder"], *shares, outside])
    header = ["method", "encoder", *(part.replace("_", " ") for part in parts), "outside forward and backward"]
    return table(header, cells)


def videos() -> str:
    """How fast videos are decoded, and read from the cache."""
    found = result("video")
    speeds = [f"{found[name]:,}" for name in ("frames_per_second_cold", "frames_per_second_cached")]
    header = ["frames a second, cold", "from the cache", "ms a batch", "of 95 in 100 batches at most"]
    return table(header, [[*speeds, f"{found['milliseconds_a_batch']}", f"{found['of_95_in_100_batches_at_most']}"]])


def sounds() -> str:
    """How long spectrograms take, beside scipy's."""
    rows = result("audio")["rows"]
    cells = [[r["contender"], str(r["threads"]), f"{r['milliseconds']:.1f}", f"{r['best']:.1f}"] for r in rows]
    return table(["library", "threads", "median, ms", "best, ms"], cells)


def hearing() -> str:
    """What a linear probe makes of frozen features of sounds."""
    rows = result("hearing")["rows"]
    by = {(r["features"], r["data"]): percent(r["accuracy"]) for r in rows}
    names = dict.fromkeys(r["features"] for r in rows)
    return table(["features", "ESC-10", "FSDD"], [[f"`{n}`", by[n, "esc10"], by[n, "fsdd"]] for n in names])


def search() -> str:
    """How long the nearest take to find among how many, and how many of them are found."""
    rows = result("search")["rows"]
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


def label() -> str:
    """Accuracy against labels by what chose them, and how far the curve is above that of random labels."""
    found = result("label")
    cells = []
    for name, rows in found["rows"].items():
        for row in sorted(rows, key=lambda row: -row["ahead"]):
            means = [sum(column) / len(column) for column in zip(*row["accuracy"], strict=True)]
            ahead = "" if row["strategy"] == "random" else percent(row["ahead"], row["deviation"])
            cells.append([name, f"`{row['strategy']}`", *map(percent, means), ahead])
    return table(["data", "strategy", *map(str, found["counts"]), "ahead of random"], cells)


def answered(claim: Claim) -> float | None:
    """How many test items are named rightly by what was trained, where it was."""
    rows = result(claim.name).get("results", ())
    return next((row["value"] for row in rows if row["protocol"] in ("classifier", "logistic")), None)


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


def fewlabels() -> str:
    """Accuracy from few labels with and without the unlabelled rest."""
    cells = []
    for claim, found in measured("fewlabels"):
        alone, *others = claim.controls
        counted = [answered(control) for control in others if control.method == "tfidf"]
        scores = [percent(score) for score in (answered(claim), answered(alone), *(counted or [None]))]
        settings = {key: to for key, to in claim.settings.items() if key != "pretrained"}
        words = (claim.method, *(f"{key}={to}".removesuffix(".0") for key, to in settings.items()))
        began = f"`{claim.start.method}`" if claim.start else "published" if settings != claim.settings else "fresh"
        cells.append([
            f"`{claim.data[1]}`", str(claim.data[2]), f"`{' '.join(words)}`", f"`{claim.encoder}`", began,
            str(claim.seed), f"{claim.epochs:g}", *scores, f"{found['training_cpu_minutes']:.0f}",
        ])  # fmt: skip
    header = ["data", "labels", "method", "encoder", "start", "seed", "epochs"]
    return table([*header, "with the rest", "labels alone", "TF-IDF", "CPU minutes"], cells)


def augmentation() -> str:
    """Accuracy by how items are changed, with and without the unlabelled rest."""
    cells = []
    for claim, _ in measured("augmentation"):
        how = "none" if claim.settings.get("share") == 0 else claim.settings["augmentation"]
        scores = [percent(answered(row)) for row in (claim, *claim.controls)]
        cells.append([f"`{claim.data[1]}`", str(claim.data[2]), f"`{claim.method}`", str(claim.seed), how, *scores])
    return table(["data", "labels", "method", "seed", "changed by", "with the rest", "labels alone"], cells)


def episodes() -> str:
    """Accuracy among five new classes from one and from five examples of each, with half the 95 % interval."""
    cells = {}
    for claim, _ in measured("episodes"):
        for row in (claim, *claim.controls):
            who = f"`{row.method}`, {row.settings['pretext']}" if row == claim else row.method.replace("raw", "pixels")
            scores = [percent(each["value"], each["high"] - each["value"]) for each in result(row.name)["results"]]
            cells[row.name] = [f"`{row.on}`", str(row.seed), who, f"{row.epochs:g}" if row.epochs else "", *scores]
    return table(["data", "seed", "features", "epochs", "1 shot", "5 shots"], list(cells.values()))


def starts() -> str:
    """Accuracy from few labels by where a training starts and what it does; apart for each number of labels."""
    cells = []
    for claim, found in measured("starts"):
        if claim in STARTS:
            continue
        _, name, count, *_ = (*claim.data, "all")
        weights = ["published"] if (claim.start or claim).settings.get("pretrained") else []
        began = weights + ([f"`{claim.start.method}`"] if claim.start else []) or ["fresh"]
        frozen, scratch = claim.settings.get("freeze") == "all", claim.settings.get("probe") is False
        what = "frozen, a probe" if frozen else "trained from scratch" if scratch else "fine-tuned"
        probe = next((row["value"] for row in found["results"] if row["protocol"] == "linear"), None)
        cells.append([
            f"`{name}`", str(count), claim.encoder or "", ", then ".join(began),
            f"`{claim.method}`" if claim.method != "finetune" else what, percent(answered(claim)), percent(probe),
            f"{found['training_cpu_minutes']:.1f}",
        ])  # fmt: skip
    cells.sort(key=lambda row: (row[0], row[1].zfill(5), -float(row[5])))
    header = ["data", "labels", "encoder", "start", "on top", "answers", "linear probe", "CPU minutes"]
    return table(header, cells)


def catching_up() -> str:
    """Accuracy with all labels against the length of the training, fine-tuned and from scratch."""
    found: dict[float, dict[str, str]] = {}
    for claim, _ in measured("catching-up"):
        found.setdefault(claim.epochs, {})["fine-tuned" if claim.start else "from scratch"] = percent(answered(claim))
    columns = ["from scratch", "fine-tuned"]
    rows = [[f"{epochs:g}", *(cells.get(name, "") for name in columns)] for epochs, cells in sorted(found.items())]
    return table(["epochs", "from scratch", "fine-tuned after `simclr`"], rows)


def domains() -> str:
    """Accuracy in the target domain."""
    cells = []
    for claim, _ in measured("domains"):
        source, target = claim.controls
        scores = [percent(answered(row)) for row in (source, claim, target)]
        cells.append([" to ".join(claim.data[1:]), f"`{claim.encoder}`", str(claim.seed), f"{claim.epochs:g}", *scores])
    header = ["domains", "encoder", "seed", "epochs", "source only", "`dann`", "target's labels"]
    return table(header, cells)


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
    cells = []
    rows = [(claim, found.get("results", ())) for claim, found in measured("segmentation")]
    rows += [(each, result(each.name).get("results", ())) for each in (rows[0][0].controls if rows else ())]
    for claim, results in rows:
        by = values(results, "encoder", "by", "metric")
        for name, said in dict.fromkeys((name, said) for name, said, _ in by):
            start = f"`{claim.start.method}`" if claim.start else "published" * ("pretrained" in claim.settings)
            trained = {"trained": f"`{claim.method}`" + ", frozen" * ("freeze" in claim.settings)}.get(name, name)
            scores = [percent(by[name, said, metric]) for metric in ("mean IoU", "pixel accuracy")]
            cells.append([f"`{claim.encoder}`" if claim.encoder else "", start, trained, said or "", *scores])
    return table(["encoder", "start", "trained by", "told by", "mean IoU", "pixels"], cells)


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


def retrieval() -> str:
    """Mean average precision of each pooling, plain and whitened."""
    cells = []
    for claim, _ in measured("retrieval"):
        by = values(beside(claim), "encoder", "pooling", "whitened")
        for encoder, pooling in dict.fromkeys((encoder, pooling) for encoder, pooling, _ in by):
            scores = [percent(by[encoder, pooling, white]) for white in (False, True)]
            cells.append([f"`{claim.on}`", str(claim.seed), encoder, pooling, *scores])
    return table(["data", "seed", "features", "pooling", "mAP", "whitened"], cells)


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


PARTS = {
    part.__name__: part
    for part in (
        methods, cards, encoders, published, words, speeds, memory, training, steps, videos, sounds, hearing, search,
        order, tracking, frames, crossmodal, localization, masked, topics, translation, refinement, drawings,
        restoration, clusters, fewlabels, augmentation, episodes, starts, catching_up, label, domains, generalization,
        tasks, segmentation, weather, retrieval, anomaly, keypoints, affinity,
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
