"""Tables of the methods, encoders and protocols."""

import importlib

import withhold
from parts.reading import table
from withhold import nets
from withhold.evaluation import protocols as measured

FROM = {
    "image": "images", "semisupervised": "few labels", "transfer": "labels", "dual": "two domains", "video": "videos",
    "audiovisual": "images with sounds", "text": "texts",
}  # fmt: skip
"""The data of the methods in each folder, in the order of the tables."""


def _ordered() -> list[dict]:
    """The cards of all methods, sorted by data, family and name."""
    folders = list(FROM)
    return sorted(withhold.methods(), key=lambda card: (folders.index(card["folder"]), card["family"], card["name"]))


def methods() -> str:
    """The names of the methods, grouped by data and family."""
    rows: dict[tuple[str, str], list[str]] = {}
    for card in _ordered():
        rows.setdefault((FROM[card["folder"]], card["family"]), []).append(f"`{card['name']}`")
    return table(["learns from", "family", "methods"], [[*group, ", ".join(names)] for group, names in rows.items()])


def cards() -> str:
    """One row for each method."""
    rows = [
        [FROM[card["folder"]], card["family"], f"`{card['name']}`", card["about"].split("\n")[0], card["paper"]]
        for card in _ordered()
    ]
    return table(["learns from", "family", "method", "what it withholds and predicts", "paper"], rows)


def networks() -> str:
    """One row for each encoder of the library."""
    rows = [
        [nets.kind(name), f"`{name}`", nets.about(name), "yes" if nets.has_pretrained(name) else ""]
        for name in sorted(nets.names(), key=lambda name: (nets.kind(name) != "image", nets.kind(name), name))
    ]
    return table(["data", "encoder", "what it is", "pretrained weights"], rows)


def protocols() -> str:
    """One row for each protocol of the library."""
    module = "withhold.evaluation.protocols"
    docs = ((name, importlib.import_module(f"{module}.{name}").__doc__.partition("\n")[0]) for name in measured.names())
    return table(["protocol", "what it measures"], [[f"`{name}`", about] for name, about in docs])
