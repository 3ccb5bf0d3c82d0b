"""Texts, whole datasets and with a few labels."""

import gzip
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
from claims.data.place import Place, Split, draw


def few_texts(at: Place, name: str, count: int) -> Split:
    """`count` labelled texts, the same number per class; all training texts and the "unsup" part without labels."""
    parts = {}
    for part in ("train", "test", "unsup"):
        texts, labels = _table(at.root / "text" / name / f"{part}.parquet")
        parts[part] = [text.replace("<br />", " ") for text in texts], np.array(labels)
    texts, labels = parts["train"]
    kept = draw(labels, count, at.seed)
    known = np.flatnonzero(kept >= 0)
    labelled = [texts[row] for row in known], kept[known]
    return Split((labelled, texts + parts["unsup"][0]), labelled, parts["test"])


def _table(path: Path) -> tuple[list[str], list]:
    """The texts of a parquet file and their labels."""
    table = pyarrow.parquet.read_table(path, columns=["text", "label"])
    return table["text"].to_pylist(), table["label"].to_pylist()


def wikitext(at: Place) -> Split:
    """WikiText-2's paragraphs without headings; its unknown words become the tokenizers' unknown token."""
    parts = []
    for part in ("train", "test"):
        lines = gzip.decompress((at.root / "text" / "wikitext-2" / f"{part}.txt.gz").read_bytes()).decode().split("\n")
        texts = [line.replace("<unk>", "[UNK]").replace(" @-@ ", "-").replace(" @,@ ", ",").strip() for line in lines]
        parts.append([text for text in texts if text and not text.startswith("=")])
    return Split((parts[0],), test=parts[1])


def ag_news(at: Place) -> Split:
    """AG News without topics; the probe's labels are drawn from the first 4,000 texts."""
    train, test = (_table(at.root / "text" / "ag_news" / f"{part}.parquet") for part in ("train", "test"))
    return Split((train[0],), (train[0][:4000], train[1][:4000]), test)


def few_topics(at: Place, name: str, count: int) -> Split:
    """`count` labelled texts, the same number per class, and all training texts without labels."""
    train, test = (_table(at.root / "text" / name / f"{part}.parquet") for part in ("train", "test"))
    kept = draw(np.array(train[1]), count, at.seed)
    known = np.flatnonzero(kept >= 0)
    labelled = [train[0][row] for row in known], kept[known]
    return Split((labelled, train[0]), labelled, test)


def wikipedia(at: Place) -> Split:
    """Wikipedia articles in lower case, letters only; and the folder of human ratings of word pairs."""
    table = pyarrow.parquet.read_table(at.root / "text" / "wiki-sample" / "articles.parquet", columns=["text"])
    texts = [re.sub("[^a-z]+", " ", text.lower()).strip() for text in table["text"].to_pylist()]
    return Split((texts,), test=at.root / "text" / "word-similarity")
