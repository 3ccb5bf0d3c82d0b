import itertools
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from withhold import nets
from withhold.contract.tiny import texts, tokenizer
from withhold.errors import UsageError
from withhold.methods.text.skipgram import BLOCK, SkipGram


def make(**parameters):
    torch.manual_seed(0)
    return SkipGram(nets.build("word-vectors", tokenizer=tokenizer("words")), **parameters)


def rows(n=3, length=40, seed=0):
    """Known words only, of different lengths."""
    rng = torch.Generator().manual_seed(seed)
    found = torch.randint(5, make().encoder.vocabulary, (n, length), generator=rng, dtype=torch.int32)
    for row in range(n):
        found[row, length - 7 * row :] = 0
    return found


def pairs_of(method, seen, others, true):
    """How often each pair of words occurs, whichever way it was cut into blocks."""
    count = torch.zeros(method.encoder.vocabulary, method.encoder.vocabulary)
    near = others[:, None, : true.shape[2]].expand(true.shape)
    count.index_put_((seen[:, :, None].expand(true.shape).flatten(), near.flatten()), true.flatten(), accumulate=True)
    return count


def test_pairs_are_those_of_a_loop_over_the_text():
    """With windows of one word, whose width is no accident."""
    method = make(window=1, sample=1.0)
    words = rows(length=70)
    (seen, others), (true, _) = method.hide({"texts": words})
    expected = torch.zeros(method.encoder.vocabulary, method.encoder.vocabulary)
    for row in words.tolist():
        row = [number for number in row if number]
        for left, right in itertools.pairwise(row):
            expected[left, right] += 1
            expected[right, left] += 1
    assert torch.equal(pairs_of(method, seen, others, true), expected)
    assert seen.shape[1] == BLOCK and others.shape[1] == 2 * BLOCK + 2


def test_windows_are_symmetric_in_width_and_near_words_count_more():
    """A word at distance r is predicted with probability (window - r + 1) / window."""
    method = make(window=4, sample=1.0)
    words = torch.arange(40).repeat(400, 1) + 5  # as if there were so many words: only places matter
    method.counts = torch.ones(60)
    (seen, others), (true, _) = method.hide({"texts": words})
    near = others[:, None, : true.shape[2]]
    distance = (seen[:, :, None] - near).abs() * (true > 0)
    widths = distance.amax(2)[seen > 0]
    assert distance.max() == 4
    for row in range(3):  # all words up to the width, on both sides
        for place in range(4, 20):
            width = int(distance[row, place].max())
            said = near[row, 0][true[row, place] > 0].tolist()
            own = int(seen[row, place])
            expected = [own + step for step in range(-width, width + 1) if step and 5 <= own + step < 45]
            assert sorted(said) == expected
    inner = widths.view(-1)
    for reach in range(1, 5):
        share = (inner >= reach).float().mean().item()
        assert share == pytest.approx((4 - reach + 1) / 4, abs=0.03)


def test_frequent_words_are_left_out_before_there_are_windows():
    """Kept with probability sqrt(t / f) + t / f; rare, special and unknown words never."""
    method = make(sample=0.01)
    method.counts.zero_()
    method.counts[5:9] = torch.tensor([900.0, 90.0, 9.0, 1.0])
    words = torch.tensor([5, 6, 7, 1, 3, 9, 0, 0]).repeat(20_000, 1)
    thin = method.thin(words)
    for number, frequency in ((5, 0.9), (6, 0.09), (7, 0.009)):
        expected = min(1.0, math.sqrt(0.01 / frequency) + 0.01 / frequency)
        assert (thin == number).any(1).float().mean().item() == pytest.approx(expected, abs=0.01)
    assert set(thin.unique().tolist()) == {0, 5, 6, 7}
    assert thin.shape[1] == BLOCK
    assert ((thin[:, 1:] == 0) | (thin[:, :-1] > 0)).all(), "what is left lies side by side"
    assert method.thin(torch.zeros(2, 8, dtype=torch.int64)).shape == (2, BLOCK)


def test_the_loss_is_that_of_a_loop_over_pairs():
    torch.manual_seed(1)
    method = make(window=2, negatives=3, sample=1.0)
    method.output.weight.data.normal_()
    method.encoder.embed.weight.data.normal_()
    visible, (true, chance) = method.hide({"texts": rows()})
    v, u = method.encoder.embed.weight.detach(), method.output.weight.detach()
    total = 0.0
    words, others = visible
    for block in range(len(words)):
        for place in range(BLOCK):
            scores = [float(v[words[block, place]] @ u[other]) for other in others[block]]
            for score, weight in zip(scores, true[block, place].tolist(), strict=False):
                total -= weight * math.log(1 / (1 + math.exp(-score)))
            for score, weight in zip(scores[true.shape[2] :], chance[block, place].tolist(), strict=True):
                total -= weight * math.log(1 / (1 + math.exp(score)))
    terms = method.loss(method.predict(visible), (true, chance))
    assert terms["loss"].item() == pytest.approx(total / float(true.sum()), rel=1e-4)


def test_shared_negatives_have_the_expected_gradient_of_separate_ones():
    """On average over the draws, a negative counts as often as if each pair drew its own and none was its word."""
    method = make(window=2, negatives=3, sample=1.0)
    method.counts[5:] = torch.rand(len(method.counts) - 5, generator=torch.Generator().manual_seed(3)) + 0.2
    words = rows(1, length=20)
    vocabulary = method.encoder.vocabulary
    drawn, pairs = torch.zeros(vocabulary, vocabulary), torch.zeros(vocabulary, vocabulary)
    for seed in range(4000):
        method.seed(seed)
        (seen, others), (true, chance) = method.hide({"texts": words})
        pairs += pairs_of(method, seen, others, true)
        drawn += pairs_of(method, seen, others[:, true.shape[2] :], chance)
    share = method.counts**0.75 / (method.counts**0.75).sum()
    expected = 3 * share * (pairs.sum(1, keepdim=True) - pairs)  # E[negatives n of v] = k P(n) #(pairs of v not with n)
    found, wanted = drawn[expected > 300], expected[expected > 300]
    np.testing.assert_allclose(found, wanted, rtol=0.12)
    assert drawn.sum().item() == pytest.approx(expected.sum().item(), rel=0.01)


def test_it_starts_at_k_plus_one_logarithms_of_two():
    method = make(negatives=5, sample=1.0)
    method.counts[5:] = 1.0
    terms = method({"texts": rows()})
    assert terms["loss"].item() == pytest.approx(6 * math.log(2), rel=0.05)  # but for negatives that are the word


def test_trivial_is_what_the_best_constant_score_costs():
    method = make(negatives=5)
    (words, others), withheld = method.hide({"texts": rows()})
    costs = []
    for score in torch.linspace(-4, 4, 801):
        said = torch.ones(*words.shape, 1), torch.full((*others.shape, 1), score.item())
        terms = method.loss(said, withheld)
        costs.append(terms["loss"].item())
    assert terms["trivial"].item() == pytest.approx(min(costs), rel=1e-4)
    assert terms["trivial"].item() < 0.7 * costs[400]  # a score of 0, from which it starts


def test_a_step_touches_its_own_words_only():
    method = make(window=2)
    terms = method({"texts": rows()})
    terms["loss"].backward()
    assert method.encoder.embed.weight.grad.is_sparse and method.output.weight.grad.is_sparse
    visible, _ = method.hide({"texts": rows()})
    assert not visible[0].is_floating_point()
    assert len(method.encoder.embed.weight.grad._indices()[0].unique()) < method.encoder.vocabulary


def test_a_batch_without_known_words_teaches_nothing():
    method = make()
    terms = method({"texts": torch.tensor([[1, 3, 0]])})
    terms["loss"].backward()
    assert terms["loss"] == terms["trivial"] == 0
    assert method.output.weight.grad.to_dense().abs().sum() == 0


def test_the_picture_says_as_many_words_as_there_are():
    """The best scored ones of the pairs and the noise, in their order; never padding, nor the word itself."""
    method = make(window=2)
    torch.nn.init.normal_(method.output.weight)
    method.output.weight.data[0] = 100 * method.encoder.embed.weight.mean(0)
    visible, withheld = method.hide({"texts": rows()})
    shown = method.picture(visible, withheld, method.predict(visible))
    (words, others), (true, chance) = visible, withheld
    for block, (seen, said, near) in enumerate(zip(shown["seen"], shown["said"], shown["true"], strict=True)):
        word = int(words[block, 0])
        places = [p for p in range(36) if true[block, 0, p] > 0] + [
            36 + p for p in range(32) if chance[block, 0, p] > 0
        ]
        score = {p: (method.encoder.embed.weight[word] @ method.output.weight[others[block, p]]).item() for p in places}
        best = sorted(sorted(places, key=lambda p: -score[p])[: len(near.split())])
        assert method.encoder.number(seen) == word
        assert said == " ".join(method.encoder.words(others[block, best][:, None]))
    assert max(len(near.split()) for near in shown["true"]) == 2


def test_words_are_counted_and_special_ones_are_not():
    """Each once, though the last window of a text begins inside the one before it."""
    method, whole = make(), texts("words", 16)
    method.prepare(texts=whole.windows())
    values = torch.cat([torch.tensor(whole.whole(row)) for row in range(len(whole))])
    assert method.counts[:5].sum() == 0
    for number in range(5, method.encoder.vocabulary):
        assert method.counts[number] == (values == number).sum()


def test_words_of_a_topic_come_together():
    method, samples = make(sample=0.1), texts("words", 64).windows()
    method.prepare(texts=samples)
    first, *_, last = overfit_sparse(method, {"texts": samples.batch(range(64))}, 60)
    assert last["loss"] < 0.8 * first["loss"]
    vectors = F.normalize(method.encoder.embed.weight.detach(), dim=1)
    sea, bread = (
        [method.encoder.number(w) for w in group] for group in (("ship", "sailor", "wind"), ("baker", "oven", "cook"))
    )
    assert (vectors[sea] @ vectors[sea].T).mean() > (vectors[sea] @ vectors[bread].T).mean() + 0.3


def overfit_sparse(method, batch, steps):
    from withhold.training.optimizers import Adagrad

    optimizer, history = Adagrad(list(method.parameters()), 0.1), []
    for seed in range(steps):
        method.seed(seed)
        terms = method(batch)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        history.append(terms)
    return history


def test_sums_of_words_have_neighbours():
    method = make()
    weight = method.encoder.embed.weight.data
    weight.zero_()[5:] = torch.eye(100)[50 : 50 + len(weight) - 5]
    one, two, other, answer = 6, 8, 10, 12
    weight[one], weight[two] = torch.eye(100)[0] * 9, torch.eye(100)[1] * 0.1  # lengths do not count
    weight[other] = torch.eye(100)[2]
    weight[answer] = torch.eye(100)[0] - torch.eye(100)[1] + torch.eye(100)[2]
    name = method.encoder.tokenizer.id_to_token
    found = method.apply_to(f"{name(one)} - {name(two).upper()} + {name(other)}")["words"].scored
    assert found[0] == (name(answer), pytest.approx(1.0, abs=1e-5))
    assert not {name(one), name(two), name(other), "[PAD]", "[UNK]"} & {word for word, _ in found}
    assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
    with pytest.raises(UsageError, match=r"The vocabulary has no 'saillor': did you mean sailor"):
        method.apply_to("ship - saillor")
    for text in ("", "ship -", "ship + - bread"):
        with pytest.raises(UsageError, match=rf"'{re.escape(text)}' is not a sum of words\. Write it as in 'king"):
            method.apply_to(text)
    with pytest.raises(UsageError, match=r"has no '\[MASK\]'"):
        method.apply_to("[MASK]")
    with pytest.raises(UsageError, match=r"has no 'qqqq': use a word that occurs several times in the training texts"):
        method.apply_to("qqqq")


def test_without_power_all_words_are_equally_likely_and_special_tokens_never():
    method = make(power=0.0)
    method.counts = torch.tensor([0.0, 0, 0, 0, 0, 9, 1, 90], dtype=torch.float)
    texts = torch.full((64, 128), 5)
    method.seed(0)
    (_, near), _ = method.hide({"texts": texts})
    counts = near[:, -32:].flatten().bincount(minlength=8).float()
    assert not counts[:5].any()
    assert counts[5:].div(counts.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
