"""Word vectors and masked words, and the controls of texts."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims.data import Place, Split
from claims.measures.common import Found
from claims.row import Claim
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

import withhold
from withhold.evaluation.protocols.lowshot import DRAWS, SHOTS, draw


@torch.inference_mode()
def perplexity(run: withhold.Run, split: Split, at: Place) -> Found:
    """Perplexity of masked tokens, of the network and of token frequencies; accuracy on whether two halves match."""
    method, windows = run.method, run.load_data(split.test).windows()
    method.seed(at.seed)
    sums = torch.zeros(4)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(at.seed))
    for part in order.split(64):
        visible, (tokens, follows) = method.hide({"texts": windows.batch(part)})
        scores, says = method.predict(visible)
        masked = F.cross_entropy(scores, tokens, reduction="sum")
        right = ((says > 0) == follows).float().mean() * len(tokens)
        sums += torch.stack([masked, -method.known[tokens].sum(), right, torch.tensor(float(len(tokens)))])
    trained, frequencies, right = (sums[:3] / sums[3]).tolist()
    return {
        "perplexity": float(np.exp(trained)), "unigram_perplexity": float(np.exp(frequencies)), "next_accuracy": right,
        "tokens": int(sums[3]),
    }  # fmt: skip


def similarity(run: withhold.Run, split: Split, at: Place) -> Found:
    """Words per second, and agreement with human ratings before and after training."""
    words = sum(len(text.split()) for text in split.streams[0])
    epochs, seconds = run.rows()[-1]["epoch"], run.config["outcome"]["seconds"]
    vectors = {
        name: _agreement(of, split.test) for name, of in (("trained", run.encoder), ("untrained", run.untrained()))
    }
    return {"words": words, "words_per_second": round(epochs * words / seconds), **vectors}


SIMILARITY = {"wordsim353": "EN-WS-353-ALL.txt", "simlex999": "EN-SIMLEX-999.txt"}


def _agreement(encoder: Any, folder: Path) -> Found:
    """Spearman's correlation with human ratings over the pairs whose words are both known; accuracy on analogies.

    An analogy is correct if its answer is the nearest of all known words (3CosAdd).
    """
    vectors = F.normalize(encoder.embed.weight.detach(), dim=1)
    known = {word: row for word, row in encoder.tokenizer.get_vocab().items() if encoder.ordinary[row]}
    found: Found = {}
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


def tfidf(claim: Claim, split: Split, at: Place) -> Found:
    """Control: scikit-learn's TF-IDF of the words of all training texts, with logistic regression on the labels."""
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(split.streams[-1])
    (texts, labels), (questions, answers) = split.train, split.test
    known, asked, labels = vectorizer.transform(texts), vectorizer.transform(questions), torch.as_tensor(labels)

    def accuracy(rows: Any) -> float:
        learned = LogisticRegression(C=10, max_iter=1000).fit(known[rows], labels[rows].numpy())
        return learned.score(asked, answers)

    about = {"encoder": "tf-idf of words", "metric": "accuracy"}
    if "lowshot" not in claim.protocols:
        return {"results": [{**about, "protocol": "logistic", "value": accuracy(np.arange(len(labels)))}]}
    rng, rows = torch.Generator().manual_seed(at.seed), []
    for shots in SHOTS:  # the same draws of labels as in the protocol
        values = [accuracy(draw(labels, shots, rng).numpy()) for _ in range(DRAWS)]
        spread, middle = torch.std_mean(torch.tensor(values))
        rows.append(
            {**about, "protocol": "lowshot", "shots": shots, "value": middle.item(), "deviation": spread.item()}
        )
    return {"results": rows}


def gensim(claim: Claim, split: Split, at: Place) -> Found:
    """Control: gensim with the same text and settings, run by a script that prints one line of JSON."""
    if not at.peer:
        raise SystemExit("gensim runs in its own environment: give --peer PYTHON SCRIPT.")
    corpus = at.folder / "corpus.txt"
    corpus.write_text(" ".join(split.streams[0]), encoding="utf-8")
    sets = [word for name, file in SIMILARITY.items() for word in ("--similarity", f"{name}={split.test / file}")]
    command = [*at.peer, str(corpus), "--epochs", str(claim.epochs), *sets]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(said.splitlines()[-1])
