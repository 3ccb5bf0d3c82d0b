"""What a network may see of a text."""

import torch
from torch import Tensor


def mask_tokens(
    tokens: Tensor, ordinary: Tensor, mask: int, share: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose tokens to be predicted, and change what the network sees of them (Devlin et al., NAACL 2019, section 3.1).

    Of the chosen 80 % are masked, 10 % are any other, and 10 % stay.

    Args:
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


def replace_words(tokens: Tensor, frequencies: Tensor, idf: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Put others in the place of words that say little of what a text is about (Xie et al., NeurIPS 2020, appendix).

    With t the TF-IDF of a text's words, C the largest t and Z the mean of C - t, a word is replaced with probability
    min(share * (C - t) / Z, 1). It gives way to a word of the vocabulary with probability in proportion to max S - S,
    where S is frequency times IDF: keywords neither go nor come.

    Args:
        tokens: int [n, l].
        frequencies: [vocabulary], how often each token occurs, on any scale; what does not, such as a special token,
            is neither replaced nor drawn.
        idf: float [vocabulary], the logarithm of texts over texts with the token.
        share: of the words that are replaced, in [0, 1].
    """
    if not len(tokens):
        return tokens
    known = frequencies > 0
    words = known[tokens]
    length = words.sum(1, keepdim=True).clamp(min=1)
    occurs = (tokens[:, :, None] == tokens[:, None]).sum(2, dtype=torch.int32)
    spare = (occurs / length * idf[tokens]).masked_fill(~words, 0)
    spare = (spare.amax(1, keepdim=True) - spare).masked_fill(~words, 0)
    mean = spare.sum(1, keepdim=True) / length  # 0 where all words count alike: none of them goes
    chance = share * spare / mean.clamp(min=torch.finfo(spare.dtype).tiny)

    score = frequencies * idf
    odds = (score.max() - score) * known
    odds = torch.where(odds.any(), odds, known.float())
    drawn = torch.multinomial(odds, tokens.numel(), replacement=True, generator=rng).view_as(tokens)
    replaced = torch.rand(tokens.shape, generator=rng, device=tokens.device) < chance
    return torch.where(replaced, drawn.to(tokens.dtype), tokens)


def switch_out(tokens: Tensor, ordinary: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """SwitchOut: put any others in the place of a random number of words (Wang, Pham, Dai & Neubig, EMNLP 2018).

    Of a text of l words, n are replaced with probability exp(-n / t) / sum of exp(-m / t) over m = 0, 1 ... l. Which n
    is uniform, and so is what comes among all other words of the vocabulary.

    Args:
        tokens: int [n, l].
        ordinary: bool [vocabulary], which tokens may be replaced, and may stand in for another.
        share: the temperature t as a share of l, in [0, 1]. The paper's is about one word, of sentences of 20 or 30.
    """
    known = ordinary[tokens]
    length = known.sum(1, keepdim=True)
    counts = torch.arange(tokens.shape[1] + 1, device=tokens.device)
    odds = -counts / (share * length).clamp(min=torch.finfo(torch.float32).tiny)
    odds = odds.masked_fill(counts > length, -torch.inf).softmax(1)
    order = torch.rand(tokens.shape, generator=rng, device=tokens.device).masked_fill(~known, 2)
    chosen = order.argsort(1).argsort(1) < torch.multinomial(odds, 1, generator=rng)
    words, place = ordinary.nonzero()[:, 0], ordinary.cumsum(0) - 1
    further = torch.randint(1, max(2, len(words)), tokens.shape, generator=rng, device=tokens.device)
    others = words[(place[tokens] + further) % len(words)]
    return torch.where(chosen, others.to(tokens.dtype), tokens)
