"""Decoding of documents to token numbers, and training of tokenizers."""

import contextlib
import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from withhold.data.kind import Kind, Shape, Table, Unreadable
from withhold.data.manifests import text_of
from withhold.errors import UsageError, WithholdError, suggestion

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
"""The first tokens of every trained vocabulary; [PAD] is 0, so that zeros are padding."""
TOKENIZERS = ("words", "wordpiece")
LEAST = 5
"""The least occurrences of a word in the vocabulary."""
SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
"""A character, with its marks, of a script without spaces between words."""
log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Texts(Kind):
    """Documents as token numbers int32 [l], read in windows of `tokens`.

    Args:
        tokenizer: the path of a tokenizer.json; only measuring does not need it.
        tokens: length of a window.
    """

    tokenizer: str | None = None
    tokens: int = 128

    name, noun = "text", "document"
    endings = (".txt", ".txt.gz", ".md")
    columns = ("text", "sentence", "document", "content", "review", "body", "abstract")
    at_once = 1024

    def __post_init__(self):
        if self.tokens < 1:
            raise UsageError(f"Windows of texts cannot have {self.tokens} tokens. Give 1 or more.")

    @property
    def window(self):
        return self.tokens

    @property
    def key(self):
        assert self.tokenizer is not None
        return f"text {blake2b(Path(self.tokenizer).read_bytes(), digest_size=16).hexdigest()}"

    def measure(self, item):
        read(item)
        return Shape()

    def suited(self, shape):
        raise UsageError("Texts need a tokenizer. Give the path of a tokenizer.json.")

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        assert self.tokenizer is not None
        return load_tokenizer(self.tokenizer)

    def decode(self, item):
        numbers = np.array(self._tokenizer.encode(read(item), add_special_tokens=False).ids, dtype=np.int32)
        if not len(numbers):
            raise Unreadable("no token in it")
        return numbers


def read(item: Any) -> str:
    """Read the text of a document, gzipped or not. Raises: Unreadable."""
    item = item() if callable(item) else item
    if isinstance(item, bytes):
        try:
            item = text_of(item)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise Unreadable(str(error).rstrip(".")) from error
    if not isinstance(item, str) or not item.strip():
        raise Unreadable("empty document")
    return item.encode("utf-8", "replace").decode()  # a lone surrogate from json becomes a question mark


def train_tokenizer(table: Table, name: str, where: str) -> "Tokenizer":
    """Train a tokenizer on a table of documents.

    Words are separated by spaces and punctuation; in scripts without spaces, such as Chinese, Japanese and Thai, every
    character is a word.

    Args:
        name: "words" (lower case, all words that occur at least five times), "words:20000" (the most frequent of them),
            or "wordpiece:8000" (lower case, 8,000 pieces of words).

    Raises: UsageError: an unknown name; WithholdError: a vocabulary of fewer than two tokens.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    kind, _, most = name.partition(":")
    if kind not in TOKENIZERS or (most and not most.isdecimal()):
        raise UsageError(f"There is no tokenizer {name!r}: {suggestion(kind, TOKENIZERS)}")
    settings: dict[str, Any] = {"special_tokens": SPECIAL, "show_progress": False}
    if kind == "words":
        size = int(most) + len(SPECIAL) if most else 2**31
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        trainer: Any = trainers.WordLevelTrainer(vocab_size=size, min_frequency=LEAST, **settings)
    else:
        size = int(most or 8000)
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trainer = trainers.WordPieceTrainer(vocab_size=size, **settings)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPACELESS), "isolated"), pre_tokenizers.BertPreTokenizer()]
    )
    log.info("training the tokenizer, %s", name)
    tokenizer.train_from_iterator(_readable(table), trainer, length=len(table))
    found = tokenizer.get_vocab_size()
    if found > size:
        raise UsageError(
            f"The vocabulary {name} is too small for {where}, whose characters alone make {found} pieces. Use "
            f"wordpiece:{2 * found} or more."
        )
    if found < len(SPECIAL) + 2:
        often = f" that occur {LEAST} times" if kind == "words" else ""
        raise WithholdError(f"The vocabulary of {where} has {found - len(SPECIAL)} words{often}. Give more text.")
    return tokenizer


def is_elsewhere(name: str) -> bool:
    """Whether a name is the place of an existing tokenizer, not that of one to train."""
    return name.partition(":")[0] not in TOKENIZERS and (name.startswith("hf:") or Path(name).exists())


def load_tokenizer(name: str | os.PathLike) -> "Tokenizer":
    """Load a tokenizer from a tokenizer.json, a folder with one, or "hf:NAME", a model of the hub.

    It neither truncates nor pads. Raises: WithholdError: there is none, or its first token is not the padding.
    """
    from tokenizers import Tokenizer

    name = os.fspath(name)
    try:
        place = Path(name.removeprefix("hf:"))
        if name.startswith("hf:") and not place.exists():
            tokenizer = Tokenizer.from_pretrained(str(place))
        else:
            tokenizer = Tokenizer.from_file(str(place / "tokenizer.json" if place.is_dir() else place))
    except Exception as error:  # the library raises plain exceptions
        raise WithholdError(f"{name} is not a tokenizer: {str(error).rstrip('.')}.") from error
    lacking = [token for token in SPECIAL if tokenizer.token_to_id(token) is None]
    if lacking or tokenizer.token_to_id(SPECIAL[0]):
        reason = f"lacks {lacking[0]}" if lacking else f"has no {SPECIAL[0]} as its first token"
        raise WithholdError(f"The tokenizer {name} {reason}. Use a BERT tokenizer, such as hf:bert-base-uncased.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _readable(table: Table) -> Iterator[str]:
    for item in chain.from_iterable(table.chunks(256)):
        with contextlib.suppress(Unreadable):  # reported when it is decoded
            yield read(item)
