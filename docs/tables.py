"""Write the generated parts of README.md and docs/benchmarks.md from the code and from benchmarks/results.

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


def methods() -> str:
    rows = [
        [f"`{card['name']}`", card["family"], card["about"].split("\n")[0], card["paper"]]
        for card in withhold.methods()
    ]
    return table(["method", "family", "what is withheld, what is predicted", "paper"], rows)


def claims() -> str:
    """One line a claim, best first; each beside the controls of the same encoder."""
    found = [json.loads(path.read_text()) for path in sorted((RESULTS / "claims").glob("*.json"))]
    found = [claim["result"] for claim in found]
    rows = []
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
    return f"{100 * rows[0]['value']:.1f}" + (f" ± {100 * rows[0]['deviation']:.1f}" if "deviation" in rows[0] else "")


def speeds() -> str:
    """SimCLR's views a second beside the peers', by size and threads."""
    rows = json.loads((RESULTS / "views.json").read_text())["result"]["rows"]
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
    rows = json.loads((RESULTS / "memory.json").read_text())["result"]["walks"]
    cells = [
        [f"{r['images']:,}", f"{r['private_mb']}", f"{r['mapped_mb']}", f"{r['first_batch_seconds']:.3f}"] for r in rows
    ]
    return table(["cached images", "own memory, MB", "mapped file pages, MB", "seconds to the first batch"], cells)


def training() -> str:
    """A training step's parts, and its speed and memory beside the peer's."""
    result = json.loads((RESULTS / "train.json").read_text())["result"]
    shares = result["withhold"]["shares"]
    parts = table(list(shares), [[f"{100 * share:.1f} %" for share in shares.values()]])
    speeds = [
        [name, f"{found['images_per_second']:.1f}", f"{found['peak_rss_mb']:,}"]
        for name, found in (("withhold", result["withhold"]), ("lightly", result["peer"]))
    ]
    return parts + "\n\n" + table(["library", "images a second", "peak memory, MB"], speeds)


def search() -> str:
    """How long the nearest take to find among how many, and how many of them are found."""
    rows = json.loads((RESULTS / "search.json").read_text())["result"]["rows"]
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
    result = json.loads((RESULTS / "words" / "wiki-sample-0.json").read_text())["result"]
    cells = []
    for name in ("withhold", "gensim", "untrained"):
        found = result[name]
        speed = f"{found['words_per_second']:,}" if "words_per_second" in found else ""
        close = [f"{found[data]['spearman']:.3f}" for data in ("wordsim353", "simlex999")]
        right = [f"{100 * found[kind]['accuracy']:.1f}" if kind in found else "" for kind in ("semantic", "syntactic")]
        cells.append([name, speed, *close, *right])
    return table(["vectors of", "words a second", "WordSim-353", "SimLex-999", "semantic", "syntactic"], cells)


PARTS = {
    "methods": methods, "claims": claims, "words": words, "speeds": speeds, "memory": memory, "training": training,
    "search": search,
}  # fmt: skip


def filled(text: str) -> str:
    """`text` with every `<!-- NAME: ... --> ... <!-- end -->` written afresh."""

    def fill(match: re.Match) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- (\w+): .*? -->)\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main() -> int:
    stale = False
    for path in (ROOT / "README.md", ROOT / "docs" / "benchmarks.md"):
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
