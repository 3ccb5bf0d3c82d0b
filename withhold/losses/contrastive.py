"""Contrastive losses."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.distributed import gather, rank, ranks
from withhold.losses.precision import float32


@float32
def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE: cross-entropy of each query's key against the negatives (van den Oord et al., 2018; MoCo, eq. 1).

    Args:
        query: [n, d]; the rows of all inputs are normalised here.
        key: [n, d], the positive for each query.
        negatives: [k, d], shared by all queries.
        temperature: divides the cosine similarities.
    """
    query, key, negatives = (F.normalize(x, dim=1) for x in (query, key, negatives))
    right = (query * key).sum(1, keepdim=True)
    scores = torch.cat([right, query @ negatives.T], dim=1) / temperature
    return F.cross_entropy(scores, torch.zeros(len(query), dtype=torch.int64, device=query.device))


@float32
def symmetric_info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE of each row and its partner in the other set, averaged over both directions (CLIP: Radford et al., 2021).

    Args:
        first, second: [n, d], the two embeddings of this rank's pairs, row by row; rows are normalised here. Pairs of
            other ranks are also used as negatives.
        temperature: divides the cosine similarities.
    """
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    own = torch.arange(len(first), device=first.device) + len(first) * rank()
    forth, back = first @ gather(second).T / temperature, second @ gather(first).T / temperature
    return (F.cross_entropy(forth, own) + F.cross_entropy(back, own)) / 2


@float32
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent: cross-entropy of each embedding's partner among all others (Chen et al., ICML 2020, eq. 1).

    With m images on all ranks together, there are 2m - 1 others: the partner and 2m - 2 negatives.

    Args:
        first, second: [n, d], embeddings of two views of this rank's images; rows are normalised here.
        temperature: divides the cosine similarities.
    """
    n, total = len(first), len(first) * ranks()
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    everyone = torch.cat([gather(first), gather(second)])
    own = torch.arange(n, device=first.device) + n * rank()
    own = torch.cat([own, own + total])
    scores = torch.cat([first, second]) @ everyone.T / temperature
    scores = scores.scatter(1, own[:, None], float("-inf"))
    return F.cross_entropy(scores, (own + total) % (2 * total))


def pair_distance(first: Tensor, second: Tensor, same: Tensor, margin: float) -> Tensor:
    """The mean over pairs of d^2 for same pairs and of max(0, `margin` - d)^2 for others (Hadsell et al., CVPR 2006).

    Args:
        first, second: features [n, d]; the distance is the root mean square over features.
        same: bool [n].
    """
    squares = (first - second).square().mean(1)
    return torch.where(same, squares, (margin - (squares + 1e-12).sqrt()).clamp(min=0).square()).mean()


def nearest(first: Tensor, second: Tensor) -> Tensor:
    """For every row of `first` [n, d], the index of the nearest row of `second` [m, d]: int64 [n]; no gradient."""
    return torch.cdist(first.detach().float(), second.detach().float()).argmin(1)


def negative_sampling(scores: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """The sum of -log s(x) over true pairs and of -log s(-x) over false ones (Mikolov et al., NIPS 2013, equation 4).

    s is the logistic function. The gradient is computed together with the value, in one pass over the scores.

    Args:
        scores: [b, n, m + k], of n words with m possible context words and k random words.
        true: [b, n, m], how often each context pair occurs; random pairs never count as true.
        weight: [b, n, m + k], how often each pair counts in total, as true or false.
    """
    return _NegativeSampling.apply(scores, true, weight)


class _NegativeSampling(torch.autograd.Function):
    @staticmethod
    def forward(context, scores: Tensor, true: Tensor, weight: Tensor) -> Tensor:
        near = slice(0, true.shape[2])
        gradient = scores.sigmoid().mul_(weight)
        gradient[:, :, near] -= true
        context.save_for_backward(gradient)
        # -log s(-x) for all of them; and -log s(x) = -log s(-x) - x
        return F.softplus(scores).mul_(weight).sum() - (true * scores[:, :, near]).sum()

    @staticmethod
    def backward(context, outer: Tensor):
        (gradient,) = context.saved_tensors
        return gradient * outer, None, None
