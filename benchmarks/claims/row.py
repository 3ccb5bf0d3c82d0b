"""The definition of a claim: what is trained on which data, how it is measured, and with which controls."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A row.

    Args:
        group: the experiment that it belongs to, and the folder of its result.
        data: the name of a function of `claims.data`, and its arguments.
        method: a method, or a control: `raw`, `untrained`, `start` and `supervised` are rows of an evaluation, and
            `tfidf` and `gensim` functions of `claims.measures`.
        epochs: passes over the longest stream; for `supervised`, over the labelled items.
        seed: of the weights, the order, the views, and random choices of the data.
        settings: options of the training and parameters of the method that differ from the defaults.
        protocols: of `withhold evaluate`.
        measures: functions of `claims.measures`.
        controls: the rows that it is compared with.
        like: for a control, the method whose encoder it uses.
        start: the row whose trained encoder it starts from.
    """

    group: str
    data: tuple
    method: str
    encoder: str | None = None
    epochs: float = 0
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    protocols: Sequence[str] = ()
    measures: Sequence[str] = ()
    controls: Sequence["Claim"] = ()
    like: str = ""
    start: "Claim | None" = None

    @property
    def on(self) -> str:
        """The name of the data."""
        return "-".join(map(str, self.data[1:] or self.data))

    @property
    def name(self) -> str:
        settings = {} if self.like else self.settings
        set_to = [f"{key}={value}".removesuffix(".0") for key, value in settings.items()]
        length = f"{self.epochs:g}epochs" if self.epochs else ""
        start = self.start and f"from={self.start.method}"
        words = (self.on, self.method, self.encoder, start, *set_to, length, f"seed{self.seed}")
        return f"{self.group}/" + "-".join(filter(None, words))


def control(claim: Claim, method: str, encoder: str | None = None, **changes: Any) -> Claim:
    """The control `method` on the same data."""
    changes = {"epochs": 0, "measures": (), "controls": (), "like": claim.method} | changes
    return replace(claim, method=method, encoder=encoder, **changes)


def beside_controls(claim: Claim) -> Claim:
    """The claim with two controls: its randomly initialised encoder, and raw items."""
    return replace(claim, controls=(control(claim, "untrained", claim.encoder), control(claim, "raw")))


def labels_alone(claim: Claim) -> Claim:
    """The control with the same method, views and steps, in which unlabelled data have weight 0."""
    return replace(claim, settings={**claim.settings, "weight": 0.0}, controls=())
