"""Multi-task learning at every pixel: masks, edges and corners."""

from collections.abc import Sequence

import torch
from torch import Tensor

from withhold import losses, nets
from withhold.console import counted
from withhold.errors import UsageError, suggestion
from withhold.methods import (
    Balance,
    BalancedTasks,
    ImageEncoder,
    NonNegative,
    Probability,
    Responses,
    Segmenter,
    answers,
    method,
)
from withhold.methods.responses import FILTERS, SURVEYED
from withhold.needs import IGNORED

MASK = "mask"


@method(
    paper="Caruana, Machine Learning 1997; Kendall et al., CVPR 2018; Chen et al., ICML 2018; Yu et al., NeurIPS 2020",
    needs={"images": "image + mask"},
    family="supervised",
)
class DenseMultitask(BalancedTasks, Segmenter):
    """Withholds the mask and the responses of fixed filters, edges and corners; predicts each of them at every pixel.

    Edges and corners are computed from the view itself; for images without masks, use `filter_response`. The tasks
    share the encoder and the head up to its last layer. The cost of masks is the cross-entropy divided by the entropy
    of the class frequencies; the cost of a filter is the squared error of its standardised response. A trivial
    prediction therefore costs 1, and the weights of tasks are comparable. Views and head are those of `segmentation`.

    Args:
        tasks: what to predict, separated by commas: "mask", "edges", "corners".
        balance: "fixed" gives all tasks the same weight; "uncertainty", "gradnorm" and "pcgrad" are as in `multitask`,
            but "gradnorm" compares gradients in the last shared layer of the head, and "pcgrad" removes conflicts from
            those of all shared layers.
        alpha: for "gradnorm", how much more weight tasks get that have learned less than the others.
        flip: probability of a horizontal flip; 0 if left and right differ in meaning.
    """

    def __init__(
        self, encoder: ImageEncoder, classes: Sequence[str], tasks: str = "mask,edges,corners",
        balance: Balance = "fixed", alpha: NonNegative = 1.5, flip: Probability = 0.5,
    ):  # fmt: skip
        names = dict.fromkeys(filter(None, map(str.strip, tasks.split(","))))
        if not names:
            raise UsageError(f"dense_multitask has no tasks. Name some of {', '.join((MASK, *FILTERS))}.")
        for name in names:
            if name not in (MASK, *FILTERS):
                raise UsageError(f"dense_multitask has no task {name!r}: {suggestion(name, (MASK, *FILTERS))}")
        filters = [name for name in FILTERS if name in names]
        super().__init__(encoder, classes, flip, more=len(filters))
        self.responses = Responses(filters)
        self.register_buffer("guess", torch.ones(()))
        self.start_balance({name: name == MASK for name in (MASK, *FILTERS) if name in names}, balance, alpha)

    def shared(self):
        return [*super().shared(), *self.head.project.parameters(), *self.head.layers[:-1].parameters()]

    def prepare(self, images):
        """Compute the cost of trivial predictions: the entropy of classes, means and deviations of responses."""
        rows = self.some(len(images), SURVEYED)
        parts = images.batch(rows), *images.beside(self.needs["images"], rows.numpy())
        items, masks = (part.to(self.guess.device) for part in parts)
        seen, masks = self.view(items, masks=masks)
        self.responses.survey(seen)
        self.guess = losses.entropy_of_counts(masks[masks != IGNORED].long(), len(self.classes))
        if MASK in self.tasks and not self.guess:
            raise UsageError(
                f"The masks of {counted(len(rows), 'random image')} of {images.source} show fewer than two classes, so "
                "they cannot be learned. Add masks with other classes."
            )

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and masks [n, h, w] -> views of the encoder's size; the same views of the masks,
        and the standardised responses of the filters to the views, float [n, f, h, w]."""
        items, masks = images
        seen, masks = self.view(items, masks=masks)
        return seen, (masks, self.responses(seen))

    def predict(self, seen):
        """Class scores [n, k, h, w] and standardised responses [n, f, h, w]."""
        said = self.head(nets.stage_maps(self.encoder, seen), seen.shape[2:])
        return said.tensor_split([len(self.classes)], 1)

    def loss(self, said, withheld):
        (scores, own), (masks, responses) = said, withheld
        terms, known = self.terms(scores, masks), (masks != IGNORED).any()
        errors = zip(self.responses.names, (own - responses).square().mean((0, 2, 3)), strict=True)
        costs = {MASK: terms["loss"] / self.guess, **dict(errors)}
        present = {MASK: known, **dict.fromkeys(self.responses.names, torch.ones_like(known))}
        return self.combined(costs, present) | ({"accuracy of mask": terms["accuracy"]} if MASK in self.tasks else {})

    def says(self):
        return super().says() if MASK in self.tasks else {}

    def apply_to(self, image):
        """An image -> "mask" and "overlay" as from `segmentation`, and the response of each filter; the strongest
        response is white."""
        count = len(self.classes)
        said = self.joined(
            image,
            lambda square: torch.cat(self.predict(square), 1),
            lambda values: torch.cat([values[:count].softmax(0), values[count:]]),
        )
        found = self.shown(image, said[:count].argmax(0)) if MASK in self.tasks else {}
        drawn = self.responses.draw(said[None, count:].to(self.guess))[0].cpu()
        return found | {
            name: answers.Image(drawn[place : place + 1]) for place, name in enumerate(self.responses.names)
        }

    def picture(self, seen, withheld, said=None):
        shown = {"true": withheld} | ({} if said is None else {"said": (said[0].argmax(1), said[1].float())})
        columns = {"seen": seen}
        for task in self.tasks:
            columns |= {f"{who} {task}": self.drawn(task, *found, seen) for who, found in shown.items()}
        return columns

    def drawn(self, task: str, masks: Tensor, responses: Tensor, images: Tensor) -> Tensor:
        """A picture of one task's masks [n, h, w] or responses [n, f, h, w]."""
        if task == MASK:
            return self.draw(masks, images)
        place = self.responses.names.index(task)
        return self.responses.draw(responses)[:, place : place + 1]
