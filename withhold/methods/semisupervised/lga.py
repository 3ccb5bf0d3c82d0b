"""LGA: label gradient alignment."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from withhold import losses
from withhold.methods import Fraction, ImageEncoder, NonNegative, Positive, Probability, SemiSupervised, Share, method


@method(
    paper="Jackson & Schulman, 2019 (arXiv:1910.11358)",
    needs={"labelled": "image + label", "unlabelled": "image + number"},
    family="consistency",
)
class LGA(SemiSupervised):
    """Withholds the labels; imputes labels whose gradient matches the gradient of the given labels.

    The labels of unlabelled images are variables too. They start uniform, and each step changes them a little so that
    their gradient comes nearer to that of the given labels. Virtual adversarial training is added (see `vat`). An
    untrained network would impute arbitrary labels, so the weight rises slowly.

    Args:
        weight: weight of the loss on unlabelled images, averaged over these: the cross-entropy with imputed labels plus
            the divergence of VAT; 0 ignores them.
        rate: largest change of a class probability in a step, before it is projected on the simplex.
        adversarial: weight of the divergence from the predictions for unchanged images, relative to 1 for imputed
            labels.
        radius: size of a change: the root mean square over the values of an image, which lie in [0, 1].
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    imputed: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        rate: Fraction = 0.1,
        adversarial: NonNegative = 1.0,
        radius: Positive = 0.03,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.rate, self.adversarial, self.radius = rate, adversarial, radius
        self.register_buffer("imputed", torch.zeros(0, len(self.classes)))

    def prepare(self, labelled, unlabelled):
        super().prepare(labelled, unlabelled)
        self.imputed.resize_(len(unlabelled), len(self.classes)).fill_(1 / len(self.classes))

    def withhold(self, labelled, unlabelled):
        """Weak views of all images, changed unlabelled ones; labels, imputed labels, plain views, their predictions."""
        (images, labels), (others, numbers) = labelled, unlabelled
        named, plain = self.weak(images), self.weak(others)
        answers = self.answers(plain)
        changed = losses.changed_for_the_worst(self.predict, plain, answers, self.radius, self.rng)
        imputed = self.aligned(named, labels, plain, self.imputed[numbers])
        self.keep(numbers, imputed)
        return torch.cat([named, plain, changed]), (labels, imputed, plain, answers)

    def aligned(self, named: Tensor, labels: Tensor, others: Tensor, imputed: Tensor) -> Tensor:
        """Move the imputed class probabilities [m, k] one step towards the gradient of the labels [n].

        This is gradient descent on the squared distance of the two gradients g of the weights. Its slope with respect
        to the probability of class c of image i is -2/m times the derivative of log p(c | i) along g(imputed) -
        g(labels). One forward-mode pass computes it for all images and classes.
        """
        if not len(others):
            return imputed
        student, items = self.student(), torch.cat([named, others])
        learned = {name: weight for name, weight in student.named_parameters() if weight.requires_grad}
        with torch.enable_grad():
            known, rest = student(items).float().tensor_split([len(named)])
            apart = F.cross_entropy(rest, imputed) - F.cross_entropy(known, labels)
            differences = torch.autograd.grad(apart, list(learned.values()))

        def says(weights: dict[str, Tensor]) -> Tensor:
            buffers = {name: buffer.clone() for name, buffer in student.named_buffers()}
            return functional_call(student, {**weights, **buffers}, (items,))[len(named) :].log_softmax(1)

        weights = {name: weight.detach() for name, weight in learned.items()}
        with torch.autocast(items.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):  # others lack forward mode
            slopes = jvp(says, (weights,), (dict(zip(weights, differences, strict=True)),))[1]
        slopes = slopes - slopes.mean(1, keepdim=True)  # probabilities add up to 1
        return losses.project_simplex(imputed + self.rate * slopes / slopes.abs().max().clamp(min=1e-12))

    def loss(self, scores, withheld):
        """Cross-entropies with given and with imputed labels, plus equation 8 of VAT.

        If classes are equally frequent, the best constant prediction is a weighted mean of the uniform distribution and
        of the imputed labels.
        """
        labels, imputed, _, answers = withheld
        named, rest = scores.tensor_split([len(labels)])
        plain, changed = rest.tensor_split(2)
        costs = F.cross_entropy(plain, imputed, reduction="none")
        costs = costs + self.adversarial * losses.divergence(answers, changed)
        terms, weight = self.terms(named, labels, costs, self.risen), self.weight * self.risen * (len(rest) > 0)
        even = torch.full_like(scores[0], 1 / scores.shape[1])
        constant = (even + weight * imputed.sum(0) / max(1, len(imputed))) / (1 + weight)
        return terms | {"trivial": (1 + weight) * torch.special.entr(constant).sum()}

    def after_step(self):
        super().after_step()
        if self.fresh:
            numbers, imputed = map(losses.gather, self.kept())
            self.imputed[numbers] = imputed

    def picture(self, seen, withheld, scores=None):
        return super().picture(seen.clamp(0, 1), withheld[:3], scores)
