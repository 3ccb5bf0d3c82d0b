"""What there is: the methods."""

import withhold
from parts.reading import table

FROM = {
    "image": "images", "semisupervised": "few labels", "transfer": "labels", "dual": "two domains", "video": "videos",
    "audiovisual": "pictures with sound", "text": "texts",
}  # fmt: skip
"""What the methods of a folder learn from, in the order of the tables."""


def _ordered() -> list[dict]:
    """The cards of all methods, by what they learn from, by family, and by name."""
    folders = list(FROM)
    return sorted(withhold.methods(), key=lambda card: (folders.index(card["folder"]), card["family"], card["name"]))


def methods() -> str:
    """The names of the methods, by what they learn from and by family."""
    rows: dict[tuple[str, str], list[str]] = {}
    for card in _ordered():
        rows.setdefault((FROM[card["folder"]], card["family"]), []).append(f"`{card['name']}`")
    return table(["learns from", "family", "methods"], [[*group, ", ".join(names)] for group, names in rows.items()])


def cards() -> str:
    """A line a method."""
    rows = [
        [FROM[card["folder"]], card["family"], f"`{card['name']}`", card["about"].split("\n")[0], card["paper"]]
        for card in _ordered()
    ]
    return table(["learns from", "family", "method", "what is withheld, what is predicted", "paper"], rows)
