"""What a browser is shown of an item: never a file as it is, but a picture, a film, a sound or a text made of it."""

import io
import threading
from functools import lru_cache
from typing import Any

from withhold import data, kinds
from withhold.data import Samples
from withhold.data.kind import Item, Unreadable
from withhold.errors import WithholdError

SIDES = {"small": 160, "large": 720}
"""Pixels of a picture's longer side."""
LETTERS, BEGINNING = 20_000, 160
"""Of a text, in full and where there is little room."""
Media = tuple[bytes, str]
"""What a file holds, and its media type."""


class Shown:
    """The items of a source, by number.

    Args:
        source: what a person named.
        samples: as they were decoded.
    """

    def __init__(self, source: Any, samples: Samples):
        self.kind = kinds.of(samples.kind)
        self._table = data.undecoded(source, samples.kind)
        self._rows = samples.sources
        self._lock = threading.Lock()  # of the table, which may have a file open
        self.picture = lru_cache(4096)(self._picture)
        self.film = lru_cache(16)(self._film)

    def item(self, number: int) -> Item:
        """The item as the source has it."""
        with self._lock:
            return self._table.items([int(self._rows[number])])[0]

    def _picture(self, number: int, size: str) -> Media | None:
        """A picture of an item, as WebP; None where it has no look, or cannot be read.

        Args:
            size: a name in `SIDES`.
        """
        try:
            found = self.kind.picture(self.item(number), SIDES[size])
        except (Unreadable, WithholdError):
            return None
        if found is None:
            return None
        file = io.BytesIO()
        found.save(file, "WEBP", quality=80)
        return file.getvalue(), "image/webp"

    def _film(self, number: int) -> Media | None:
        """What plays of an item: a video, or a sound; None where there is nothing, or it cannot be read."""
        try:
            return self.kind.film(self.item(number))
        except (Unreadable, WithholdError):
            return None

    def words(self, number: int, letters: int = LETTERS) -> str:
        """The text that an item is, up to so many letters; nothing of another kind."""
        try:
            return self.kind.words(self.item(number))[:letters]
        except (Unreadable, WithholdError):
            return ""
