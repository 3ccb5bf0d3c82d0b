"""What a network may see of a text."""

import torch
from torch import Tensor


def mask_tokens(
    tokens: Tensor, ordinary: Tensor, mask: int, share: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose tokens to be predicted, and change what the network sees of them (Devlin et al., NAACL 2019, section 3.1).

    Of the chosen 80 % are masked, 10 % are any other, and 10 % stay.

    Args:
        tokens: int64 [n, l].
        ordinary: bool [vocabulary], which tokens may be chosen, and may stand in for another.
        mask: the number of [MASK].
        share: of a text's ordinary tokens that are chosen; one at least, where it has one.

    Returns:
        the changed tokens [n, l], and which ones are chosen, bool [n, l].
    """
    known = ordinary[tokens]
    order, way = torch.rand(2, *tokens.shape, generator=rng, device=tokens.device)
    ranks = order.masked_fill(~known, 2).argsort(1).argsort(1)
    count = known.sum(1, keepdim=True)
    chosen = ranks < (share * count).round().clamp(min=1).minimum(count)
    others = ordinary.nonzero()[:, 0]
    drawn = others[torch.randint(len(others), tokens.shape, generator=rng, device=tokens.device)]
    changed = torch.where(way < 0.9, drawn, tokens).masked_fill(way < 0.8, mask)
    return torch.where(chosen, changed, tokens), chosen
