"""Multi-task learning: one encoder, and a head for each column of a table."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, views
from withhold.errors import UsageError
from withhold.methods import Balance, BalancedTasks, Count, Encoder, NonNegative, Positive, accuracy, answers, method


@method(
    paper="Caruana, Machine Learning 1997; Kendall et al., CVPR 2018; Chen et al., ICML 2018; Yu et al., NeurIPS 2020",
    needs={"items": "image | video | audio | text + targets"},
    family="supervised",
)
class Multitask(BalancedTasks):
    """Withholds the columns of a table; predicts each of them, class or number, from the sample.

    The cost of a task is the cross-entropy divided by the entropy of the class frequencies, or the squared error of
    numbers standardised over the training samples. A trivial prediction therefore costs 1, whatever the units and the
    number of classes, and the weights of tasks are comparable. Numbers are predicted in their own units. Missing values
    cost nothing. If a batch has no values of a column, the weight of the column does not change, and its logged cost
    and accuracy are 0. Samples are not augmented,
    because an augmentation could change what a column describes.

    Args:
        balance: "fixed" gives all tasks the same weight. "uncertainty" learns the variance of each task (Kendall et
            al., equation 7), and adds half its logarithm to the loss. "gradnorm" learns weights that equalise the norms
            of the tasks' gradients in the encoder's last layer, except that tasks that lag behind get larger ones.
            "pcgrad" removes from each task's gradient in the encoder the components that conflict with another task's.
            Except for "uncertainty", weights have the sum 1.
        columns: columns to learn, separated by commas; by default all but those that name the samples, such as `file`.
        alpha: for "gradnorm", how much more weight tasks get that have learned less than the others.
        frames: frames per clip.
        fps: frames per second.
        seconds: length of a window of sound.
        tokens: tokens per window of text.
        tokenizer: the tokenizer of the text: "words:N" or "wordpiece:N", with a vocabulary of N.
    """

    batch_size = 64
    means: Tensor
    deviations: Tensor
    guesses: Tensor

    def __init__(
        self, encoder: Encoder, targets: Mapping[str, Sequence[str] | None], balance: Balance = "fixed",
        alpha: NonNegative = 1.5, columns: str | None = None, frames: Count = 16, fps: Positive = 15.0,
        seconds: Positive = 1.0, tokens: Count = 128, tokenizer: str = "words:20000",
    ):  # fmt: skip
        super().__init__(encoder)
        self.targets = dict(targets)
        self.heads = nn.ModuleList(
            nn.Linear(encoder.dim, len(classes) if classes else 1) for classes in targets.values()
        )
        self.start_balance({column: classes is not None for column, classes in targets.items()}, balance, alpha)
        for name, start in (("means", 0.0), ("deviations", 1.0), ("guesses", 1.0)):
            self.register_buffer(name, torch.full((len(self.targets),), start))

    def prepare(self, items):
        """Compute the cost of trivial predictions: entropies of classes, means and standard deviations of numbers."""
        for place, (column, classes) in enumerate(self.targets.items()):
            values = torch.as_tensor(items.targets[column].values)
            known = values[values.isfinite() & (values >= 0)] if classes else values[values.isfinite()]
            if len(known.unique()) < 2:
                raise UsageError(f"The column {column} has at most one value, so it cannot be learned. Leave it out.")
            if classes:
                self.guesses[place] = losses.entropy_of_counts(known, len(classes))
            else:
                self.means[place], self.deviations[place] = known.mean(), known.std(correction=0)

    def withhold(self, items):
        """Samples, and for each column classes int64 [n], -1 if unknown, or standardised numbers float [n], or NaN."""
        items, targets = items
        return views.to_float(items), [
            targets[column] if classes else (targets[column] - self.means[place]) / self.deviations[place]
            for place, (column, classes) in enumerate(self.targets.items())
        ]

    def predict(self, seen):
        """For each column, the scores of its classes [n, k], or its standardised number [n, 1]."""
        features = self.encoder(seen)
        return [head(features) for head in self.heads]

    def loss(self, predicted, withheld):
        terms, costs, present = {}, {}, {}
        for place, (said, true) in enumerate(zip(predicted, withheld, strict=True)):
            column, classes = list(self.targets.items())[place]
            known = true >= 0 if classes else true.isfinite()
            said, true, count = said[known], true[known], known.sum().clamp(min=1)
            present[column] = known.any()
            if classes:
                costs[column] = F.cross_entropy(said, true, reduction="sum") / count / self.guesses[place]
                terms[f"accuracy of {column}"] = accuracy(said, true).nan_to_num()
            else:
                gaps = said[:, 0] - true
                costs[column] = gaps.square().sum() / count
                terms[f"error of {column}"] = gaps.detach().abs().sum() / count * self.deviations[place]
        return self.combined(costs, present) | terms

    def answers(self, seen: Tensor) -> Tensor:
        """What the encoder takes -> the predicted class number, or the number in its units, for each column [n, t]."""
        rows = enumerate(zip(self.predict(seen), self.targets.values(), strict=True))
        columns = [said.argmax(1) if classes else self.in_units(place, said[:, 0]) for place, (said, classes) in rows]
        return torch.stack(columns, 1)

    def says(self):
        return {"targets": self.answers}

    def apply_to(self, item):
        """A sample -> its class, or its number as text, for each column. Predictions are averaged over windows."""
        found = {}
        for place, said in enumerate(self.predict(self.encoder.cut(item))):
            column, classes = list(self.targets.items())[place]
            if classes:
                shares = said.mean(0).softmax(0)
                named = dict(zip(classes, shares.tolist(), strict=True))
                found[column] = answers.Class(classes[shares.argmax()], shares.max().item(), named)
            else:
                found[column] = f"{self.in_units(place, said.mean()):.4g}"
        return found

    def picture(self, seen, withheld, predicted=None):
        columns = {"seen": self.encoder.draw(seen)}
        for place, (column, classes) in enumerate(self.targets.items()):
            shown = {"true": withheld[place]}
            if predicted is not None:
                shown["said"] = predicted[place].argmax(1) if classes else predicted[place][:, 0]
            for who, values in shown.items():
                numbers = (values if classes else self.in_units(place, values)).tolist()
                columns[f"{who} {column}"] = [[*classes, "?"][n] if classes else f"{n:.3g}" for n in numbers]
        return columns

    def in_units(self, place: int, values: Tensor) -> Tensor:
        """Convert standardised numbers of a column back to their units."""
        return values * self.deviations[place] + self.means[place]
