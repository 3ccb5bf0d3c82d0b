"""Texts, and a few labels of them."""

import gzip
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
from claims.data.place import Place, Split, draw


def few_texts(at: Place, name: str, count: int) -> Split:
    """The same of texts; those that nobody labelled are learned from too."""
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
    """WikiText-2's paragraphs without headings; its unknown words are those of our tokenizers."""
    parts = []
    for part in ("train", "test"):
        lines = gzip.decompress((at.root / "text" / "wikitext-2" / f"{part}.txt.gz").read_bytes()).decode().split("\n")
        texts = [line.replace("<unk>", "[UNK]").replace(" @-@ ", "-").replace(" @,@ ", ",").strip() for line in lines]
        parts.append([text for text in texts if text and not text.startswith("=")])
    return Split((parts[0],), test=parts[1])


def ag_news(at: Place) -> Split:
    """News without their topics; labels are drawn among those of 4,000."""
    train, test = (_table(at.root / "text" / "ag_news" / f"{part}.parquet") for part in ("train", "test"))
    return Split((train[0],), (train[0][:4000], train[1][:4000]), test)


def few_topics(at: Place, name: str, count: int) -> Split:
    """Texts: the labels of `count`, as many of each class, and all training texts without."""
    train, test = (_table(at.root / "text" / name / f"{part}.parquet") for part in ("train", "test"))
    kept = draw(np.array(train[1]), count, at.seed)
    known = np.flatnonzero(kept >= 0)
    labelled = [train[0][row] for row in known], kept[known]
    return Split((labelled, train[0]), labelled, test)


def wikipedia(at: Place) -> Split:
    """Articles in lower case, letters only; and the folder of what people say of pairs of words."""
    table = pyarrow.parquet.read_table(at.root / "text" / "wiki-sample" / "articles.parquet", columns=["text"])
    texts = [re.sub("[^a-z]+", " ", text.lower()).strip() for text in table["text"].to_pylist()]
    return Split((texts,), test=at.root / "text" / "word-similarity")
