"""Claim: masked words are guessed better than by their frequency, and what that taught helps where labels are few.

    python benchmarks/claims/bert.py DATA wikitext [--epochs 1] [--seed 0]    DATA: a folder with wikitext-2/
    python benchmarks/claims/bert.py DATA ag_news [--epochs 1.5] [--seed 0]       DATA: a folder with ag_news/

`wikitext` trains on the training part of WikiText-2, each paragraph a document and headings left out, and gives the
perplexity of masked tokens of the test part, beside that of knowing how often each token occurs. `ag_news` trains on
the training texts without their labels, and names the test texts' topics from 1, 5 and 10 labels a class, beside the
network before training, the counts of the same tokens, and scikit-learn's TF-IDF of words with logistic regression on
the same labels. Results go to benchmarks/results/bert.
"""

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold
from withhold.evaluation.protocols.lowshot import DRAWS, SHOTS, draw

LABELLED = 4000
"""Training texts among which labels are drawn."""


def paragraphs(file: Path) -> list[str]:
    """WikiText's paragraphs without headings; its unknown words are those of our tokenizers."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = [line.replace("<unk>", "[UNK]").replace(" @-@ ", "-").replace(" @,@ ", ",").strip() for line in lines]
    return [text for text in texts if text and not text.startswith("=")]


@torch.inference_mode()
def perplexity(run: withhold.Run, texts: list[str], seed: int) -> dict:
    """Of the tokens that are masked, by the network and by their frequencies; and the share of halves told apart."""
    method, windows = run.method, run.load_data(texts).windows()
    method.seed(seed)
    sums = torch.zeros(4)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    for part in order.split(64):
        visible, (tokens, follows) = method.hide({"texts": windows.batch(part)})
        scores, says = method.predict(visible)
        masked = torch.nn.functional.cross_entropy(scores, tokens, reduction="sum")
        right = ((says > 0) == follows).float().mean() * len(tokens)
        sums += torch.stack([masked, -method.known[tokens].sum(), right, torch.tensor(float(len(tokens)))])
    trained, frequencies, right = (sums[:3] / sums[3]).tolist()
    return {
        "perplexity": torch.tensor(trained).exp().item(), "unigram_perplexity": torch.tensor(frequencies).exp().item(),
        "next_accuracy": right, "tokens": int(sums[3]),
    }  # fmt: skip


def tf_idf(texts: list[str], *parts: list[str]) -> list:
    """TF-IDF of the words of each of the `parts`, a matrix each; `texts` are what the words are counted in."""
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(texts)
    return [vectorizer.transform(part) for part in parts]


def logistic(known: Any, labels: Any, asked: Any, answers: Any) -> float:
    """The accuracy of scikit-learn's logistic regression on such matrices."""
    return LogisticRegression(C=10, max_iter=1000).fit(known, labels).score(asked, answers)


def lowshot(texts: list[str], train: tuple[list, list], test: tuple[list, list], seed: int) -> list[dict]:
    """The same from the draws of labels that the protocol makes."""
    known, asked = tf_idf(texts, train[0], test[0])
    labels, rng, rows = torch.tensor(train[1]), torch.Generator().manual_seed(seed), []
    for shots in SHOTS:
        draws = [draw(labels, shots, rng).numpy() for _ in range(DRAWS)]
        values = [logistic(known[drawn], labels[drawn].numpy(), asked, test[1]) for drawn in draws]
        spread, middle = torch.std_mean(torch.tensor(values))
        rows.append({"encoder": "tf-idf of words", "protocol": "lowshot", "shots": shots, "value": middle.item(),
                     "deviation": spread.item()})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("task", choices=["wikitext", "ag_news"])
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    epochs, seed = options.epochs or {"wikitext": 1, "ag_news": 1.5}[options.task], options.seed
    parts = {}
    if options.task == "wikitext":
        parts = {part: paragraphs(options.data / "wikitext-2" / f"{part}.txt.gz") for part in ("train", "test")}
    else:
        for part in ("train", "test"):
            table = pyarrow.parquet.read_table(options.data / "ag_news" / f"{part}.parquet")
            parts[part] = (table["text"].to_pylist(), table["label"].to_pylist())
    texts = parts["train"] if options.task == "wikitext" else parts["train"][0]
    with tempfile.TemporaryDirectory() as folder:
        began = cpu_minutes()
        run = withhold.train("bert", texts, epochs=epochs, seed=seed, batch_size=32, out=Path(folder) / "run")
        found = {"epochs": epochs, "seed": seed, "training_cpu_minutes": round(cpu_minutes() - began, 2)}
        found["training"] = run.config["outcome"]
        if options.task == "wikitext":
            found |= perplexity(run, parts["test"], seed)
        else:
            labelled = tuple(column[:LABELLED] for column in parts["train"])
            rows = run.evaluate(labelled, parts["test"], protocols=("lowshot",))
            found["results"] = rows + lowshot(texts, labelled, parts["test"], seed)
        record(f"bert/{options.task}-{seed}", found, run, texts)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
