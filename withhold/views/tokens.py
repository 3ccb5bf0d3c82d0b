"""Augmentation and masking of texts."""

import torch
from torch import Tensor


def mask_tokens(
    tokens: Tensor, ordinary: Tensor, mask: int, share: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose tokens to predict, and mask them (Devlin et al., NAACL 2019, section 3.1).

    80 % of the chosen tokens become [MASK], 10 % a random token, and 10 % stay unchanged.

    Args:
        ordinary: bool [vocabulary], the tokens that may be chosen and used as replacements.
        mask: the id of [MASK].
        share: share of the ordinary tokens of a text to choose; at least one, if the text has any.

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
    """Replace uninformative words, by TF-IDF (Xie et al., NeurIPS 2020, appendix).

    With t the TF-IDF of the words of a text, C the largest t and Z the mean of C - t, a word is replaced with
    probability min(share * (C - t) / Z, 1). The replacement is drawn from the vocabulary with probability proportional
    to max S - S, where S is frequency times IDF. So keywords are neither replaced nor inserted.

    Args:
        tokens: int [n, l].
        frequencies: [vocabulary], how often each token occurs, on any scale; tokens with frequency 0, such as special
            tokens, are neither replaced nor drawn.
        idf: float [vocabulary], the logarithm of the number of texts over the number of texts with the token.
        share: share of the words to replace, in [0, 1].
    """
    if not len(tokens):
        return tokens
    known = frequencies > 0
    words = known[tokens]
    length = words.sum(1, keepdim=True).clamp(min=1)
    occurs = (tokens[:, :, None] == tokens[:, None]).sum(2, dtype=torch.int32)
    spare = (occurs / length * idf[tokens]).masked_fill(~words, 0)
    spare = (spare.amax(1, keepdim=True) - spare).masked_fill(~words, 0)
    mean = spare.sum(1, keepdim=True) / length  # 0 if all words have the same TF-IDF: none is replaced
    chance = share * spare / mean.clamp(min=torch.finfo(spare.dtype).tiny)

    score = frequencies * idf
    odds = (score.max() - score) * known
    odds = torch.where(odds.any(), odds, known.float())
    drawn = torch.multinomial(odds, tokens.numel(), replacement=True, generator=rng).view_as(tokens)
    replaced = torch.rand(tokens.shape, generator=rng, device=tokens.device) < chance
    return torch.where(replaced, drawn.to(tokens.dtype), tokens)


def switch_out(tokens: Tensor, ordinary: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """SwitchOut: replace a random number of words by random others (Wang, Pham, Dai & Neubig, EMNLP 2018).

    In a text of l words, n are replaced with probability exp(-n / t) / sum of exp(-m / t) over m = 0, 1 ... l. Their
    positions are uniform, and the replacements are uniform over all other words of the vocabulary.

    Args:
        tokens: int [n, l].
        ordinary: bool [vocabulary], the tokens that may be replaced and used as replacements.
        share: the temperature t as a share of l, in [0, 1]. The paper uses about one word for sentences of 20 or 30.
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
