"""What a method is: three verbs, and a few hooks for those that need more."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from withhold.errors import UsageError
from withhold.needs import Need
from withhold.nets import Encoder
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
        encoder: share of the learning rate that the encoder's parameters get; below 1 to fine-tune it.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    encoder: float = 1.0


class Method(nn.Module):
    """A way to learn: `withhold` a part of the batch, `predict` it from the rest, score the prediction with `loss`.

    Subclasses define the three verbs; `method(batch)["loss"].backward()` then works in any loop. All state lives in
    parameters and buffers. The keyword arguments of `__init__` after `encoder` are the method's whole configuration.

    Attributes:
        rng: the one source of randomness, a generator on the batch's device; the trainer seeds it before every step.
        progress: the share of the training that is done, in [0, 1]; for schedules such as a teacher's momentum.
        channels: 1 where the encoder must see lightness only; None where it sees what the data has.
        optimizer: what trains it by default, or one for each player.
        batch_size: items a step by default, at most; None takes as many as suit their kind.
        refresh: whether `prepare` runs again before every epoch.
        order: how it wants the items of a stream ordered, by the stream's name: see `withhold.orders`; else shuffled.
    """

    channels: ClassVar[int | None] = None
    optimizer: ClassVar[Optimizer | dict[str, Optimizer]] = Optimizer()
    batch_size: ClassVar[int | None] = None
    refresh: ClassVar[bool] = False
    order: ClassVar[dict[str, Shuffled]] = {}

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

        The term "trivial", where given, is the loss of the best predictor that looks at nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no loss(predicted, withheld).")

    def forward(self, batch: Batch) -> dict[str, Any]:
        """The three verbs in a row: a batch, one entry a stream -> the loss and its terms.

        The loss is computed in float32, whatever the precision of the networks.
        """
        visible, withheld = self.hide(batch)
        predicted = tree_map(lambda x: x.float() if x.is_floating_point() else x, self.predict(visible))
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

        A stream has a length, and `stream.batch(indices)` gives what `withhold` gets.
        """

    def players(self) -> dict[str, list[nn.Module]]:
        """A game's players, in the order of their turns, and the modules that each one trains."""
        return {"learner": [self]}

    def turn(self, player: str, batch: Batch) -> dict[str, Any]:
        """One player's loss on a batch; the other players' parameters are frozen meanwhile."""
        return self(batch)

    def after_step(self) -> None:
        """Runs after every optimiser step: moving-average teachers, queues, memory banks."""

    def apply_to(self, images: Any) -> Any:
        """What the trained method gives a person: images uint8 [n, c, h, w] -> named ones, float in [0, 1].

        Of videos, clips uint8 [1, t, c, h, w] of a whole item each -> named clips or images. A method of texts is given
        a text, and answers with words and their scores.

        (`apply` is taken: every `nn.Module` has one.)
        """
        raise UsageError(f"{self.name} gives embeddings only: use `withhold embed`.")

    def picture(self, visible: Any, withheld: Any, predicted: Any = None) -> dict[str, Tensor | list[str]]:
        """A few samples for the report: columns of images float [n, c, h, w] in [0, 1], or of captions [n].

        The columns are "seen" and "true" (what was withheld), and "said" where there is a prediction.
        """
        return {"seen": visible} if isinstance(visible, Tensor) and visible.ndim == 4 else {}


def accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    """The share of rows of `scores` [n, k] whose largest entry is at `targets` [n]."""
    return (scores.argmax(1) == targets).float().mean()
