"""The base class of all methods: three functions, and optional hooks."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

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
    """The default optimiser of a method: after its paper, but for small-scale training.

    Args:
        name: "adamw", "sgd" (momentum 0.9, Nesterov), "lars", or "adagrad" for sparse gradients (without weight decay).
        lr: peak learning rate for 256 samples per step. It is scaled with the batch size: linearly for sgd and lars, by
            the square root otherwise.
        weight_decay: not applied to biases and normalisation parameters.
        betas: AdamW's betas.
        schedule: learning rate schedule. "cosine" decays to a thousandth of the peak and "constant" stays at the peak,
            both after a warm-up. "cyclic" decays along a cosine `cycles` times, without warm-up; cycle i starts where
            `Method.progress` is i / `cycles` (Loshchilov & Hutter, ICLR 2017, equation 5, with equal cycles).
        cycles: number of cycles.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["cosine", "constant", "cyclic"] = "cosine"
    cycles: int = 5


class Method(nn.Module):
    """A learning method: `withhold` a part of the batch, `predict` it from the rest, and score it with `loss`.

    Subclasses define these three functions; `method(batch)["loss"].backward()` then works in any training loop. All
    state is stored in parameters and buffers. The keyword arguments of `__init__` after `encoder` are the complete
    configuration.

    Optional hooks, in the order in which they run: `prepare` sees the data before training, and again every `refresh`
    steps. In each step, each of the `players` takes its `turn`, followed by `after_step`, which finds in `kept` what
    was given to `keep`. `finish` runs at the end of the training. `apply_to` returns the outputs of the trained method
    for one sample, `says` returns the functions that protocols evaluate, and `picture` returns the sample images of the
    report.

    Attributes:
        rng: the only source of randomness, a generator on the batch's device; the trainer seeds it before every step.
        progress: completed share of the training, in [0, 1]; for schedules such as a teacher's momentum.
        channels: 1 if the encoder must see only lightness; None if it sees the channels of the data.
        optimizer: the default optimiser, or one for each player.
        fewest_classes: minimum number of classes, for methods whose classes come from labels.
        batch_size: default samples per step, fewer for small data or a short time; None takes that of the kind of data.
        gentle: whether a pretrained encoder gets a lower learning rate by default, as suits few labels.
        refresh: number of steps after which `prepare` runs again; None if it runs once.
        once: seconds that only the first call of `prepare` takes.
        order: the sampling order of each stream, by the stream's name (see `withhold.orders`); shuffled by default.
        compares: whether the loss compares the samples of a batch with each other, as negatives or through the
            distribution of the batch. Such a batch has at least two samples and is never split. Batch normalisation
            alone or a "trivial" term does not count.
        learns: the term that shows within a hundred steps that the method learns: the loss, which falls, or another
            term, which rises. "" if there is none, for example with a moving target.
    """

    channels: ClassVar[int | None] = None
    optimizer: Optimizer | dict[str, Optimizer] = Optimizer()
    fewest_classes: ClassVar[int] = 2
    batch_size: ClassVar[int | None] = None
    gentle: ClassVar[bool] = True
    refresh: ClassVar[int | None] = None
    once: float = 0.0
    order: ClassVar[dict[str, Shuffled]] = {}
    compares: ClassVar[bool] = False
    learns: ClassVar[str] = "loss"

    encoder: Any  # of the class in the constructor's annotation

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
        self.fresh: list[tuple[Tensor, ...]] = []  # what `keep` has kept

    # The three functions.

    def withhold(self, **streams: Any) -> tuple[Any, Any]:
        """Split a batch's streams into what the network may see and what it must predict. Runs without gradient."""
        raise NotImplementedError(f"{type(self).__name__} defines no withhold(...).")

    def predict(self, visible: Any) -> Any:
        """Predict what is withheld from what is visible."""
        raise NotImplementedError(f"{type(self).__name__} defines no predict(visible).")

    def loss(self, predicted: Any, withheld: Any) -> dict[str, Any]:
        """Prediction and target -> {"loss": scalar to minimise, further named terms to plot}.

        The optional term "trivial" is the loss of the best predictor that ignores its input. The optional term
        "directions" is `losses.directions` of embeddings that must not collapse. The monitor checks both.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no loss(predicted, withheld).")

    def forward(self, batch: Batch) -> dict[str, Any]:
        """Call the three functions in turn: a batch with one entry per stream -> the loss and its terms."""
        visible, withheld = self.hide(batch)
        return self.score(self.predict(visible), withheld)

    def score(self, predicted: Any, withheld: Any) -> dict[str, Any]:
        """Compute `loss` in float32, whatever the precision of the networks."""
        predicted = tree_map(lambda x: x.float() if isinstance(x, Tensor) and x.is_floating_point() else x, predicted)
        with torch.autocast(self.rng.device.type, enabled=False):
            return self.loss(predicted, withheld)

    def hide(self, batch: Batch) -> tuple[Any, Any]:
        """Call `withhold` without gradient. Ignored streams arrive empty."""
        empty = {stream: tree_map(lambda part: part[:0], batch[stream]) for stream in self.ignored}
        with torch.no_grad():
            return self.withhold(**batch | empty)

    def seed(self, seed: int) -> None:
        """Restart the random generator from `seed`."""
        self.rng.manual_seed(seed)

    def _apply(self, *change: Any) -> Self:
        """Move the random generator with the parameters."""
        super()._apply(*change)
        device = next((weight.device for weight in self.parameters()), self.rng.device)
        if self.rng.device != device:
            self.rng = torch.Generator(device).manual_seed(self.rng.initial_seed())
        return self

    def some(self, count: int, most: int) -> Tensor:
        """Draw up to `most` distinct random indices below `count`, int64 on the CPU, for use in `prepare`."""
        return torch.randperm(count, generator=self.rng, device=self.rng.device)[:most].cpu()

    # The hooks.

    @property
    def ignored(self) -> Collection[str]:
        """The streams that affect nothing with these parameters, such as unlabelled ones if they have no weight."""
        return ()

    def prepare(self, **streams: Any) -> None:
        """Compute statistics of the data before training (a palette, a vocabulary, clusters) and store them in buffers.

        A stream has a length; `stream.batch(indices)` returns samples in the form that `withhold` gets, and
        `stream.labels` returns the labels int64 [n], if the stream has labels. The generators of torch, numpy and
        Python are seeded. A buffer that the constructor leaves empty may be resized to the length of the data here.
        """

    def players(self) -> dict[str, list[nn.Module]]:
        """The players of a game in the order of their turns, each with the modules that it trains."""
        return {"learner": [self]}

    def turn(self, player: str, batch: Batch, handed: dict[str, Any]) -> dict[str, Any]:
        """Return one player's loss on a batch. The parameters of the other players are frozen meanwhile.

        A player stores in `handed` what it made for the players after it, detached. `handed` lives for one step, or for
        one part of a batch that is split.
        """
        return self(batch)

    def after_step(self) -> None:
        """Update state after every optimiser step: moving-average teachers, queues, memory banks."""

    def keep(self, *parts: Tensor) -> None:
        """Keep tensors [n, ...] of a training step for `after_step`; a batch may come in several parts."""
        if self.training:
            self.fresh.append(tuple(part.detach() for part in parts))

    def kept(self) -> list[Tensor]:
        """Return the tensors of this step, each over all parts of the batch [m, ...], and forget them."""
        found = [torch.cat(part) for part in zip(*self.fresh, strict=True)]
        self.fresh.clear()
        return found

    def finish(self, plain: Callable[[], Iterable[Any]]) -> None:
        """Recompute the batch normalisation statistics of every network that is used after training.

        Training leaves the statistics of augmented views. The method is in eval mode. Each call of `plain` iterates
        once over batches of unaugmented samples of the streams that are not ignored, in the form that the encoder
        takes.
        """
        refresh_statistics(self.encoder, plain())

    def conclude(self, **streams: Any) -> None:
        """Learn what belongs to the final network from the whole streams, after `finish`; by default nothing."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state as every module does; an empty buffer is resized to the length that it had when it was saved."""
        for name, buffer in self.named_buffers():
            if not buffer.numel() and name in state_dict:
                buffer.data = buffer.new_empty(state_dict[name].shape)
        return super().load_state_dict(state_dict, strict, assign)

    def apply_to(self, *item: Any, **given: Any) -> dict[str, Answer]:
        """Apply the trained method to one sample: a sample -> named values of the types in `methods.answers`.

        A sample is an image uint8 [c, h, w] of any size, a text, a whole video uint8 [t, c, h, w] or a whole sound
        int16 [s] as the run decodes them, or a pair of frames and sound. Further inputs are further arguments,
        annotated with one or several of these types: `apply_to(self, clip, mask: Mask | Points)`.

        (The name `apply` is taken by `nn.Module`.)
        """
        raise UsageError(f"{self.name} gives embeddings only. Use `withhold embed`.")

    def says(self) -> dict[str, Callable[[Any], Tensor]]:
        """Functions of samples that protocols evaluate besides the encoder's features, by name.

        Samples are in the form that the encoder takes. "anomaly" returns scores [n], higher for more unusual samples;
        "points" returns positions (x, y) as shares of width and height [n, k, 2]; "mask" returns class numbers [n, h,
        w]; "boxes" returns detections [n, m, 6]: corners in pixels, class and score; "descriptor" returns vectors for
        comparison [n, d]. A function that needs what `prepare` computes is left out before, because an untrained
        method, with which the trained one is compared, is not prepared.
        """
        return {}

    def picture(self, visible: Any, withheld: Any, predicted: Any = None) -> dict[str, Tensor | list[str]]:
        """A few samples for the report: columns of images float [n, c, h, w] in [0, 1], or of captions [n].

        The columns are "seen", "true" (what was withheld; "other view" if it is a view), and "said" if there is a
        prediction.
        """
        return {"seen": visible} if isinstance(visible, Tensor) and visible.ndim == 4 else {}


def accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    """The share of rows of `scores` [n, k] whose largest entry is at `targets` [n]."""
    return (scores.argmax(1) == targets).float().mean()


def paired(first: Tensor, second: Tensor, found: Tensor | None) -> dict[str, Tensor]:
    """Columns for a method that compares pairs of views [n, c, h, w]: the first view, its partner, and the view found.

    Args:
        found: index of the second view that was matched to each first view, int64 [n]; None without a prediction.
    """
    return {"seen": first, "other view": second} | ({} if found is None else {"said": second[found]})
