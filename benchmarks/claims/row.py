"""What a claim is: a row that says what is trained on what, how it is measured, and beside what."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A row.

    Args:
        group: the question that it answers, and the folder of its result.
        data: a function of `claims.data` and what it is given.
        method: a method, or a control: `raw`, `untrained`, `start` and `supervised` are rows of an evaluation, and
            `tfidf` and `gensim` functions of `claims.measures`.
        epochs: passes over the longest stream; of `supervised`, over the labelled items.
        seed: of the weights, the order and the views, and of what the data draw.
        settings: options of the training and parameters of the method that are not the defaults.
        protocols: of `withhold evaluate`.
        measures: functions of `claims.measures`.
        controls: the rows beside which it stands.
        like: of a control, a method whose encoder it has.
        start: the row whose encoder it goes on from.
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
        """What the data are called."""
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
    """The row `method` on the same data."""
    changes = {"epochs": 0, "measures": (), "controls": (), "like": claim.method} | changes
    return replace(claim, method=method, encoder=encoder, **changes)


def beside_controls(claim: Claim) -> Claim:
    """The claim beside its encoder with fresh weights and the raw items."""
    return replace(claim, controls=(control(claim, "untrained", claim.encoder), control(claim, "raw")))


def labels_alone(claim: Claim) -> Claim:
    """The same method with the same views and steps, which takes nothing from what has no labels."""
    return replace(claim, settings={**claim.settings, "weight": 0.0}, controls=())
