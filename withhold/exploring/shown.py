"""Items for the browser: never the original file, but an image, a video, a sound or a text made from it."""

import io
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from withhold import data, kinds
from withhold.data import Samples
from withhold.data.kind import Item, Unreadable
from withhold.errors import WithholdError

SIDES = {"small": 160, "large": 720}
"""Longer side of an image in pixels."""
LETTERS, BEGINNING = 20_000, 160
"""Longest text in characters, in full and in lists."""
Media = tuple[bytes, str]
"""The bytes of a file, and its media type."""


class Shown:
    """The items of a source, by number.

    Args:
        source: the data as the user gave it.
        samples: the decoded items.
    """

    def __init__(self, source: Any, samples: Samples):
        self.kind = kinds.of(samples.kind)
        self._table = data.undecoded(source, samples.kind)
        self._rows = samples.sources
        self._lock = threading.Lock()  # guards the table, which may have a file open
        self.picture = lru_cache(4096)(self._picture)
        self.film = lru_cache(16)(lambda number: self._made(number, self.kind.film))

    def item(self, number: int) -> Item:
        """The item as in the source."""
        with self._lock:
            return self._table.items([int(self._rows[number])])[0]

    def _picture(self, number: int, size: str) -> Media | None:
        """An image of an item as WebP; None if it has none or cannot be read.

        Args:
            size: a name in `SIDES`.
        """
        found = self._made(number, lambda item: self.kind.picture(item, SIDES[size]))
        if found is None:
            return None
        file = io.BytesIO()
        found.save(file, "WEBP", quality=80)
        return file.getvalue(), "image/webp"

    def words(self, number: int, letters: int = LETTERS) -> str:
        """The text of an item, up to `letters` characters; empty for other kinds."""
        return (self._made(number, self.kind.words) or "")[:letters] if self.kind.typed else ""

    def _made(self, number: int, make: Callable[[Item], Any]) -> Any:
        """What `make` makes of an item; None if the item cannot be read."""
        try:
            return make(self.item(number))
        except (Unreadable, WithholdError):
            return None
