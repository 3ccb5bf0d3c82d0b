"""Several tasks: all columns of a table, classes and numbers, from one encoder."""

import torch
from torch import nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import Count, Encoder, Method, answers, method


@method(paper="Caruana, Machine Learning 1997", needs={"items": "image | text + targets"}, family="reconstruct")
class TwoColumns(Method):
    """Withholds the columns of a table; predicts each of them, class or number, from the item.

    Args:
        tokens: in a window of a text.
        tokenizer: of texts: "words", "wordpiece:8000" ...
    """

    def __init__(self, encoder: Encoder, targets, tokens: Count = 32, tokenizer: str = "words"):
        super().__init__(encoder)
        self.targets = dict(targets)
        outputs = [1 if classes is None else len(classes) for classes in self.targets.values()]
        self.heads = nn.ModuleList(nn.Linear(encoder.dim, count) for count in outputs)
        self.register_buffer("means", torch.zeros(len(outputs)))
        self.register_buffer("deviations", torch.ones(len(outputs)))

    def prepare(self, items):
        for place, (column, classes) in enumerate(self.targets.items()):
            if classes is None:
                values = torch.from_numpy(items.targets[column].values)
                self.means[place] = values[values.isfinite()].mean()
                self.deviations[place] = values[values.isfinite()].std()

    def withhold(self, items):
        """Items, and of each column classes int64 [n] or numbers float [n], standardised."""
        items, targets = items
        scales = zip(self.targets.items(), self.means, self.deviations, strict=True)
        return views.to_float(items), [
            (targets[column] - mean) / deviation if classes is None else targets[column]
            for (column, classes), mean, deviation in scales
        ]

    def predict(self, seen):
        features = self.encoder(seen)
        return [head(features) for head in self.heads]

    def loss(self, predicted, withheld):
        """The sum over the columns; what is missing in one does not count."""
        terms = {}
        for (column, classes), said, true in zip(self.targets.items(), predicted, withheld, strict=True):
            if classes is None:
                known = true.isfinite()
                terms[column] = F.mse_loss(said[known, 0], true[known], reduction="sum") / known.sum().clamp(min=1)
            else:
                known = true >= 0
                terms[column] = F.cross_entropy(said[known], true[known], reduction="sum") / known.sum().clamp(min=1)
        return {"loss": sum(terms.values())} | {f"of {column}": term for column, term in terms.items()}

    def apply_to(self, item):
        """An item -> its class, or its number as text, in each column."""
        said = self.predict(self.encoder.take(item))
        answered = {}
        for place, (column, classes) in enumerate(self.targets.items()):
            if classes is None:
                answered[column] = f"{said[place].mean() * self.deviations[place] + self.means[place]:.4g}"
            else:
                shares = said[place].mean(0).softmax(0)
                answered[column] = answers.Class(classes[shares.argmax()], shares.max().item())
        return answered

    def picture(self, seen, withheld, predicted=None):
        columns = {"seen": self.encoder.words(seen) if self.encoder.kind == "text" else seen}
        for place, (column, classes) in enumerate(self.targets.items()):
            true = withheld[place].tolist()
            columns[column] = [f"{value:.2g}" if classes is None else [*classes, "?"][value] for value in true]
        return columns
