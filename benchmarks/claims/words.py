"""Claim: skip-gram's word vectors agree with people as well as gensim's with the same settings, and learn no slower.

    python benchmarks/claims/words.py DATA [--epochs 5] [--seed 0] [--threads 2] [--gensim PYTHON SCRIPT]

DATA holds wiki-sample/articles.parquet and word-similarity/. Both learn from the articles in lower case, letters only:
100 features, window 5, 5 negatives, words that occur 5 times, frequent ones left out at 1e-3. PYTHON is one that has
gensim, SCRIPT takes a text file and --similarity NAME=FILE and prints one line of JSON. Beside both stand the vectors
before training. Similarity is Spearman's rank correlation over the pairs whose words are both known; an analogy is
right if its answer is the nearest of all known words (3CosAdd). Results go to benchmarks/results/words.
"""

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold

SIMILARITY = {"wordsim353": "EN-WS-353-ALL.txt", "simlex999": "EN-SIMLEX-999.txt"}


def articles(data: Path) -> list[str]:
    """The text of each article, in lower case, letters only."""
    table = pyarrow.parquet.read_table(data / "wiki-sample" / "articles.parquet", columns=["text"])
    return [re.sub("[^a-z]+", " ", text.lower()).strip() for text in table["text"].to_pylist()]


def measure(encoder: torch.nn.Module, folder: Path) -> dict:
    """Agreement with people and accuracy on analogies of an encoder's words."""
    vectors = F.normalize(encoder.embed.weight.detach(), dim=1)
    known = {word: row for word, row in encoder.tokenizer.get_vocab().items() if encoder.ordinary[row]}
    found: dict = {}
    for name, file in SIMILARITY.items():
        lines = [line.lower().split() for line in (folder / file).read_text(encoding="utf-8").splitlines()]
        pairs = [(known[a], known[b], float(score)) for a, b, score in lines if a in known and b in known]
        first, second, scores = map(list, zip(*pairs, strict=True))
        cosines = (vectors[first] * vectors[second]).sum(1)
        found[name] = {"spearman": float(spearmanr(cosines, scores)[0]), "pairs": len(pairs), "of": len(lines)}
    with gzip.open(folder / "questions-words.txt.gz", "rt", encoding="utf-8") as file:
        section, questions, total = "", {"semantic": [], "syntactic": []}, {"semantic": 0, "syntactic": 0}
        for words in (line.lower().split() for line in file):
            if words[0] == ":":
                section = "syntactic" if words[1].startswith("gram") else "semantic"
                continue
            total[section] += 1
            if all(word in known for word in words):
                questions[section].append([known[word] for word in words])
    for section, rows in questions.items():
        right = 0
        for a, b, c, d in (part.T for part in torch.tensor(rows).split(256)):
            cosines = (vectors[b] - vectors[a] + vectors[c]) @ vectors.T
            cosines[:, ~encoder.ordinary] = -torch.inf
            for asked in (a, b, c):
                cosines[torch.arange(len(asked)), asked] = -torch.inf
            right += int((cosines.argmax(1) == d).sum())
        found[section] = {"accuracy": right / len(rows), "questions": len(rows), "of": total[section]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gensim", nargs=2, metavar=("PYTHON", "SCRIPT"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    texts, similarity = articles(options.data), options.data / "word-similarity"
    count = sum(len(text.split()) for text in texts)
    found: dict = {"words": count, "epochs": options.epochs, "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        began, minutes = time.perf_counter(), cpu_minutes()
        run = withhold.train("skipgram", texts, epochs=options.epochs, seed=options.seed, out=Path(folder) / "run")
        found["withhold"] = {
            "words_per_second": round(options.epochs * count / run.config["outcome"]["seconds"]),
            "training_seconds": run.config["outcome"]["seconds"],
            "seconds_with_tokenizer_and_report": round(time.perf_counter() - began, 1),
            "cpu_minutes": round(cpu_minutes() - minutes, 2),
            **measure(run.encoder, similarity),
        }
        found["untrained"] = measure(run.untrained(), similarity)
        if options.gensim:
            corpus = Path(folder) / "corpus.txt"
            corpus.write_text(" ".join(texts), encoding="utf-8")
            sets = [
                word for name, file in SIMILARITY.items() for word in ("--similarity", f"{name}={similarity / file}")
            ]
            command = [*options.gensim, str(corpus), "--epochs", str(round(options.epochs)), *sets]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found["gensim"] = json.loads(said.splitlines()[-1])
        record(f"words/wiki-sample-{options.seed}", found, run, texts)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
