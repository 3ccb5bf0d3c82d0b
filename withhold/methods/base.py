"""What a method is: three verbs, and a few hooks for those that need more."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from withhold.errors import UsageError
from withhold.methods.answers import Answer
from withhold.needs import Need
from withhold.nets import Encoder, refresh_statistics
from withhold.orders import Shuffled

Batch = dict[str, Any]


@dataclass(frozen=True)
class Optimizer:
    """The optimiser that a method's paper would use at small scale.

    Args:
        name: "adamw", "sgd" (momentum 0.9, Nesterov), "lars", or for sparse gradients "adagrad" (no weight decay).
        lr: peak learning rate at 256 items a step; scaled with the batch, linearly (sgd, lars) or by its root.
        weight_decay: not applied to biases and normalisation parameters.
        betas: AdamW's averages.
        schedule: the learning rate's course: "cosine" falls to a thousandth of the peak and "constant" stays there,
            both after a warm-up; "cyclic" falls along a cosine `cycles` times, with no warm-up, so that cycle i starts
            where `Method.progress` is i / `cycles` (Loshchilov & Hutter, ICLR 2017, equation 5, with equal cycles).
        cycles: how many.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["cosine", "constant", "cyclic"] = "cosine"
    cycles: int = 5


class Method(nn.Module):
    """A way to learn: `withhold` a part of the batch, `predict` it from the rest, score the prediction with `loss`.

    Subclasses define the three verbs; `method(batch)["loss"].backward()` then works in any loop. All state lives in
    parameters and buffers. The keyword arguments of `__init__` after `encoder` are the method's whole configuration.

    Hooks, for methods that need more, in the order in which they run: `prepare` looks at the data before training, and
    again every `refresh` steps; in each step every one of the `players` takes its `turn`, then comes `after_step`;
    `finish` ends the training. `apply_to` is what the trained method gives a person, `says` what protocols measure of
    it, `picture` what the report shows.

    Attributes:
        rng: the one source of randomness, a generator on the batch's device; the trainer seeds it before every step.
        progress: the share of the training that is done, in [0, 1]; for schedules such as a teacher's momentum.
        channels: 1 where the encoder must see lightness only; None where it sees what the data has.
        optimizer: what trains it by default, or one for each player.
        batch_size: items a step by default, at most; None takes as many as suit their kind.
        refresh: steps after which `prepare` runs again; None where it runs once.
        once: seconds of its first `prepare` that later ones do not take.
        order: how it wants the items of a stream ordered, by the stream's name: see `withhold.orders`; else shuffled.
        compares: whether the loss compares the items of a batch with each other, as negatives or by how they are
            distributed. Such a batch has two items or more and is never cut into parts. Batch normalisation alone, or
            a "trivial" term, does not count.
        learns: the term that shows in a hundred steps that it learns: the loss, which falls, or another one, which
            rises; "" where none does, as with a target that moves.
    """

    channels: ClassVar[int | None] = None
    optimizer: Optimizer | dict[str, Optimizer] = Optimizer()
    batch_size: ClassVar[int | None] = None
    refresh: ClassVar[int | None] = None
    once: float = 0.0
    order: ClassVar[dict[str, Shuffled]] = {}
    compares: ClassVar[bool] = False
    learns: ClassVar[str] = "loss"

    encoder: Any  # of the class that the constructor asks for

    # Set by the `method` decorator.
    name: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[dict[str, Need]]
    family: ClassVar[str]

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        self.progress = 0.0
        self.rng = torch.Generator()

    # The three verbs.

    def withhold(self, **streams: Any) -> tuple[Any, Any]:
        """The batch's streams -> what the network may see, and what it must predict. Runs without gradient."""
        raise NotImplementedError(f"{type(self).__name__} defines no withhold(...).")

    def predict(self, visible: Any) -> Any:
        """What is visible -> the prediction of what is withheld."""
        raise NotImplementedError(f"{type(self).__name__} defines no predict(visible).")

    def loss(self, predicted: Any, withheld: Any) -> dict[str, Any]:
        """Prediction and truth -> {"loss": scalar to minimise, more named terms worth plotting}.

        The term "trivial", where given, is the loss of the best predictor that looks at nothing; "directions" is
        what `losses.directions` says of embeddings that must not collapse. The monitor judges both.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no loss(predicted, withheld).")

    def forward(self, batch: Batch) -> dict[str, Any]:
        """The three verbs in a row: a batch, one entry a stream -> the loss and its terms."""
        visible, withheld = self.hide(batch)
        return self.score(self.predict(visible), withheld)

    def score(self, predicted: Any, withheld: Any) -> dict[str, Any]:
        """`loss` in float32, whatever the precision of the networks."""
        predicted = tree_map(lambda x: x.float() if x.is_floating_point() else x, predicted)
        with torch.autocast(self.rng.device.type, enabled=False):
            return self.loss(predicted, withheld)

    def hide(self, batch: Batch) -> tuple[Any, Any]:
        """`withhold` without gradient, with the random numbers drawn on the batch's device."""
        device = next(self.parameters()).device
        if self.rng.device != device:
            self.rng = torch.Generator(device).manual_seed(self.rng.initial_seed())
        with torch.no_grad():
            return self.withhold(**batch)

    def seed(self, seed: int) -> None:
        """Start the random numbers afresh from `seed`."""
        self.rng.manual_seed(seed)

    def some(self, count: int, most: int) -> Tensor:
        """Up to `most` random numbers below `count`, each once, int64 on the CPU: what `prepare` may look at."""
        return torch.randperm(count, generator=self.rng, device=self.rng.device)[:most].cpu()

    # The hooks.

    def prepare(self, **streams: Any) -> None:
        """Look at the training data before it starts (a palette, a vocabulary, clusters); the results are buffers.

        A stream has a length, and `stream.batch(indices)` gives its items as `withhold` gets them; `stream.labels` are
        the labels, int64 [n], where it needs some. torch's, numpy's and Python's generators are seeded. A buffer that
        the constructor leaves empty may get the data's length here.
        """

    def players(self) -> dict[str, list[nn.Module]]:
        """A game's players, in the order of their turns, and the modules that each one trains."""
        return {"learner": [self]}

    def turn(self, player: str, batch: Batch, handed: dict[str, Any]) -> dict[str, Any]:
        """One player's loss on a batch; the other players' parameters are frozen meanwhile.

        In `handed` a player leaves, detached, what it made for those after it. It lives for one step, and for one part
        of a batch that is cut.
        """
        return self(batch)

    def after_step(self) -> None:
        """Runs after every optimiser step: moving-average teachers, queues, memory banks."""

    def finish(self, plain: Callable[[], Iterable[Any]]) -> None:
        """Give every network that will answer a person the batch statistics of what it will see.

        Training on views leaves those of views. The method is in eval mode; each call of `plain` goes once over batches
        of plain items of all streams, as the encoder takes them.
        """
        refresh_statistics(self.encoder, plain())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of every module; a buffer that is empty takes the length that the data gave it when it was saved."""
        for name, buffer in self.named_buffers():
            if not buffer.numel() and name in state_dict:
                buffer.data = buffer.new_empty(state_dict[name].shape)
        return super().load_state_dict(state_dict, strict, assign)

    def apply_to(self, *item: Any, **given: Any) -> dict[str, Answer]:
        """What the trained method gives a person: an item -> named values of the types in `methods.answers`.

        An item is an image uint8 [c, h, w] of any shape, a text, or as the run decodes them a whole video uint8
        [t, c, h, w], a whole sound int16 [s], or a pair of frames and sound. What a method takes besides it are further
        arguments, annotated with one of these types or several: `apply_to(self, clip, mask: Mask | Points)`.

        (`apply` is taken: every `nn.Module` has one.)
        """
        raise UsageError(f"{self.name} gives embeddings only: use `withhold embed`.")

    def says(self) -> dict[str, Callable[[Any], Tensor]]:
        """What protocols measure of the trained method beside its encoder's features: functions of items as that takes.

        "anomaly" gives [n], the larger the stranger an item is, and "points" gives places (x, y) in items, as shares of
        their width and height [n, k, 2], "mask" the numbers of classes [n, h, w], "boxes" what is found [n, m, 6]:
        corners in pixels, class and score; and "descriptor" [n, d] what is compared of items. They need nothing that
        `prepare` makes.
        """
        return {}

    def picture(self, visible: Any, withheld: Any, predicted: Any = None) -> dict[str, Tensor | list[str]]:
        """A few samples for the report: columns of images float [n, c, h, w] in [0, 1], or of captions [n].

        The columns are "seen", "true" (what was withheld; "other view" where that is one), and "said" where there is a
        prediction.
        """
        return {"seen": visible} if isinstance(visible, Tensor) and visible.ndim == 4 else {}


def accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    """The share of rows of `scores` [n, k] whose largest entry is at `targets` [n]."""
    return (scores.argmax(1) == targets).float().mean()


def paired(first: Tensor, second: Tensor, found: Tensor | None) -> dict[str, Tensor]:
    """The picture of what was learned from pairs of views [n, c, h, w]: each first one, its partner, what was found.

    Args:
        found: which of the second views was taken for each first one's partner, int64 [n]; None where nothing was.
    """
    return {"seen": first, "other view": second} | ({} if found is None else {"said": second[found]})
