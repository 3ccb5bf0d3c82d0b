import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit
from withhold import nets
from withhold.contract.tiny import TOPICS, texts, tokenizer
from withhold.errors import UsageError
from withhold.methods.text.bert import BERT

CLS, SEP, MASK = 2, 3, 4


def make(tokens=16, **parameters):
    torch.manual_seed(0)
    encoder = nets.build("text-transformer", tokenizer=tokenizer("words"), tokens=tokens)
    return BERT(encoder, tokens=tokens, **parameters)


def rows(n=64, length=16, shortest=2, seed=0):
    """Known words, in rows of different lengths."""
    rng = torch.Generator().manual_seed(seed)
    found = torch.randint(5, make().encoder.vocabulary, (n, length), generator=rng, dtype=torch.int32)
    lengths = torch.randint(shortest, length + 1, (n, 1), generator=rng)
    return found.where(torch.arange(length) < lengths, 0)


def parts_of(row):
    """What stands in [CLS] A [SEP] B [SEP] and padding, with these where they belong."""
    row = row.tolist()
    first, last = (place for place, number in enumerate(row) if number == SEP)
    assert row[0] == CLS and not any(row[last + 1 :])
    return row[1:first], row[first + 1 : last]


def test_the_second_part_is_the_rest_or_anothers_and_its_length_does_not_tell():
    method, told, places = make(), [], set()
    for seed in range(60):
        words = rows(seed=seed)
        method.seed(seed)
        whole, follows = method.pairs(words)
        assert whole.shape == (64, 3 + int((words > 0).sum(1).max()))
        texts = [[number for number in row if number] for row in words.tolist()]
        for row in range(64):
            first, second = parts_of(whole[row])
            middle, end = len(first), len(first) + len(second)
            assert 0 < middle < end and first == texts[row][:middle]
            places.add(middle / end)
            starts = [other for other, text in enumerate(texts) if text[middle:end] == second]
            assert (row in starts) if follows[row] else starts != [row]
            told.append((len(first), len(second), bool(follows[row])))
    assert min(places) < 0.2 and max(places) > 0.8  # of A as long as a single text, too
    lengths = torch.tensor([(b - a, b) for a, b, _ in told]).float()
    follows = torch.tensor([f for *_, f in told])
    assert follows.float().mean().item() == pytest.approx(0.5, abs=0.03)
    for column in lengths.T:  # neither the lengths nor their difference differ between the two
        assert abs((column[follows].mean() - column[~follows].mean()).item()) < 0.15


def test_how_a_text_ends_does_not_tell_either():
    """Of texts whose tokens have nothing to do with each other, but that the last one is always the same."""
    method, seen = make(), {}
    for seed in range(400):
        words = rows(shortest=4, seed=seed)
        words[words == 5] = 6
        words.scatter_(1, (words > 0).sum(1, keepdim=True) - 1, 5)
        method.seed(seed)
        whole, follows = method.pairs(words)
        for row, yes in zip(whole, follows.tolist(), strict=True):
            first, second = parts_of(row)
            seen.setdefault((len(first), len(second), second[-1] == 5), []).append(yes)
    best = sum(max(sum(told), len(told) - sum(told)) for told in seen.values()) / sum(map(len, seen.values()))
    assert best < 0.55


def test_no_row_is_its_own_other():
    """And where there is no other, the second part is the rest."""
    words = torch.arange(5, 13, dtype=torch.int32).repeat(8, 1) + torch.arange(8, dtype=torch.int32)[:, None]
    method = make()
    for seed in range(20):
        method.seed(seed)
        whole, follows = method.pairs(words)
        for row in range(8):
            first, second = parts_of(whole[row])
            assert (second == words[row, len(first) :].tolist()) == bool(follows[row])
    assert method.pairs(words[:1])[1].all()


def test_fifteen_percent_are_chosen_and_eighty_ten_ten_of_them_changed():
    method = make(tokens=64)
    words = rows(256, 64, shortest=30)
    (seen, chosen), (tokens, _) = method.hide({"texts": words})
    whole = seen.masked_scatter(chosen, tokens)
    assert (whole == seen)[~chosen].all()
    known = whole > 4
    assert not (chosen & ~known).any(), "neither padding nor special tokens are predicted"
    assert (chosen.sum(1) - 0.15 * known.sum(1)).abs().max() <= 0.5 + 1e-6
    masked = (seen[chosen] == MASK).float().mean().item()
    same = (seen[chosen] == tokens).float().mean().item()
    vocabulary = int(method.encoder.ordinary.sum())
    assert masked == pytest.approx(0.8, abs=0.03)
    assert same == pytest.approx(0.1 + 0.1 / vocabulary, abs=0.03)
    assert (seen[chosen] > 3).all()
    method.seed(1)
    assert not torch.equal(method.hide({"texts": words})[0][1], chosen), "another mask at every visit"
    short = torch.tensor([[7, 0, 0], [7, 8, 1]], dtype=torch.int32)
    (_, chosen), _ = make(tokens=3).hide({"texts": short})
    assert (chosen.sum(1) == 1).all(), "one at least"


def test_the_loss_is_both_cross_entropies():
    method = make()
    method.known.copy_(torch.randn(len(method.known)).log_softmax(0))
    rng = torch.Generator().manual_seed(0)
    scores, says = torch.randn(5, len(method.known), generator=rng), torch.randn(3, generator=rng)
    tokens, follows = torch.tensor([5, 9, 7, 7, 6]), torch.tensor([True, False, True])
    masked = -sum(math.log(row.softmax(0)[token]) for row, token in zip(scores, tokens, strict=True)) / 5
    following = (
        -sum(
            math.log(1 / (1 + math.exp(-say if yes else say)))
            for say, yes in zip(says.tolist(), follows.tolist(), strict=True)
        )
        / 3
    )
    terms = method.loss((scores, says), (tokens, follows))
    assert terms["loss"].item() == pytest.approx(masked + following, rel=1e-5)
    assert terms["perplexity"].item() == pytest.approx(math.exp(masked), rel=1e-5)
    knowing = math.log(2) - sum(method.known[token].item() for token in tokens) / 5
    assert terms["trivial"].item() == pytest.approx(knowing, rel=1e-5)


def test_it_starts_from_how_often_tokens_occur():
    method, samples = make(tokens=64), texts("words", 64).windows()
    fresh = method({"texts": samples.batch(range(64))})
    assert fresh["masked"].item() == pytest.approx(math.log(method.encoder.vocabulary), abs=0.4)
    method.prepare(texts=samples)
    values = samples.batch(range(len(samples))).flatten()
    counts = torch.tensor([(values == n).sum().item() * (n > 4) + 1 for n in range(method.encoder.vocabulary)])
    torch.testing.assert_close(method.known.exp(), counts / counts.sum())
    assert torch.equal(method.bias, method.known)
    terms = method({"texts": samples.batch(range(64))})
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), abs=0.4)


def test_scores_are_of_the_chosen_places_by_the_embeddings_themselves():
    method = make().eval()
    visible, (tokens, _) = method.hide({"texts": rows()})
    scores, says = method.predict(visible)
    assert scores.shape == (len(tokens), method.encoder.vocabulary) and says.shape == (64,)
    features = method.encoder.maps(visible[0]).transpose(1, 2)
    expected = method.head(features) @ method.encoder.embed.weight.T + method.bias
    torch.testing.assert_close(scores, expected[visible[1]])


def test_words_are_guessed_from_their_neighbours_and_parts_from_their_topic():
    samples = texts("words", 16).windows()
    method, batch = make(), {"texts": samples.batch(range(24))}
    method.prepare(texts=samples)
    *_, last = overfit(method, batch, seeds=range(160), lr=1e-3)
    assert last["loss"] < 0.7 * last["trivial"]
    assert last["next_accuracy"] > 0.6
    text = "the [MASK] bakes bread . a cook eats warm bread ."
    answers = method.eval().apply_to(text)["words"].scored
    numbers = method.encoder.tokenizer.encode(text).ids
    features = method.encoder.maps(torch.tensor([[CLS, *numbers, SEP]]))[0, :, 2]
    shares = (method.encoder.embed.weight @ method.head(features) + method.bias).softmax(0)
    assert [share for _, share in answers] == pytest.approx(shares.topk(10).values.tolist(), rel=1e-3)
    assert shares[method.encoder.tokenizer.token_to_id(answers[0][0])] == shares.max()
    sea, bread = (set(" ".join(topic).split()) for topic in TOPICS)
    number = method.encoder.tokenizer.token_to_id
    likely, unlikely = (sum(shares[number(word)] for word in words) for words in (bread - sea, sea - bread))
    assert likely > 4 * unlikely, "it tells the text's topic"
    with pytest.raises(UsageError, match=r"'the baker' must have one word to predict\. Write \[MASK\] in its place"):
        method.apply_to("the baker")


def test_a_picture_tells_the_words_that_are_gone():
    method = make()
    visible, withheld = method.hide({"texts": rows()})
    columns = method.picture(visible, withheld, method.predict(visible))
    row = next(row for row, seen in enumerate(columns["seen"]) if "[MASK]" in seen)
    place = visible[0][row].tolist().index(MASK)
    whole = visible[0].masked_scatter(visible[1], withheld[0])
    assert method.encoder.tokenizer.id_to_token(int(whole[row, place])) in columns["true"][row]
    assert columns["said"][row].endswith("next)")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_value_out_of_range_is_named(share):
    with pytest.raises(ValueError, match="share"):
        make(share=share)


def test_padding_neither_sees_nor_is_seen():
    method = make()
    (seen, chosen), _ = method.hide({"texts": rows()})
    scores, _ = method.predict((seen, chosen))
    wider, more = F.pad(seen[:, :-1], (0, 1)), F.pad(chosen[:, :-1], (0, 1))
    kept = seen[:, -1] == 0
    torch.testing.assert_close(
        method.predict((wider[kept], more[kept]))[0], method.predict((seen[kept], chosen[kept]))[0]
    )
    assert scores.isfinite().all()


def test_a_batch_of_unknown_words_has_nothing_to_guess_and_no_infinite_loss():
    method = make()
    method.seed(0)
    terms = method({"texts": torch.ones(4, 16, dtype=torch.int32)})
    assert terms["masked"] == 0
    assert all(torch.isfinite(torch.as_tensor(value)) for value in terms.values())


def test_one_word_of_a_text_is_asked_and_a_long_text_is_cut_around_it():
    method = make().eval()
    for text in ("no word is missing", "the [MASK] sails the [MASK]"):
        with pytest.raises(UsageError, match=r"must have one word to predict\. Write \[MASK\]"):
            method.apply_to(text)
    for before, after in ((200, 0), (0, 200), (200, 200)):
        with torch.no_grad():
            assert method.apply_to(" ".join(["the"] * before + ["[MASK]"] + ["sea"] * after))["words"].scored
