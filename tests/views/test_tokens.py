"""Word replacement, against loops over the words and over their counts."""

import numpy as np
import pytest
import torch

from withhold import views

FREQUENCIES = torch.tensor([0, 0, 0, 0, 0, 40.0, 9, 3, 5, 1, 12, 2])
IDF = torch.tensor([0, 0, 0, 0, 0, 0.1, 0.7, 2.3, 1.1, 3.0, 0.7, 2.3])
TEXT = [5, 7, 6, 1, 5, 8, 9, 5, 6, 7, 11, 0, 0]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def replace(text, share=0.7, n=1, frequencies=FREQUENCIES, idf=IDF):
    """`n` changed views of a text, int32 [n, l]."""
    tokens = torch.tensor(text, dtype=torch.int32).repeat(n, 1)
    return views.replace_words(tokens, frequencies, idf, share, rng())


def chances(text, share):
    """How likely each word of the text is replaced, word for word."""
    words = [word for word in text if word > 4]
    weights = {word: words.count(word) / len(words) * IDF[word].item() for word in words}
    largest = max(weights.values())
    mean = sum(largest - weights[word] for word in words) / len(words)
    return [min(share * (largest - weights[word]) / mean, 1) if word > 4 else 0.0 for word in text]


def odds():
    """How likely each word of the vocabulary is drawn."""
    scores = [FREQUENCIES[word].item() * IDF[word].item() for word in range(12)]
    spare = [max(scores) - score if word > 4 else 0.0 for word, score in enumerate(scores)]
    return np.array(spare) / sum(spare)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_words_that_say_little_go_and_others_that_say_little_come(share):
    n = 40_000
    changed = replace(TEXT, share, n).numpy()
    expected = chances(TEXT, share)
    assert (max(expected) == 1) == (share == 0.7), "one of the cases reaches certainty"
    for place, word in enumerate(TEXT):
        came = np.bincount(changed[:, place], minlength=12) / n
        told = expected[place] * odds()  # a word may give way to itself
        told[word] += 1 - expected[place]
        assert np.abs(came - told).max() < 0.01


def test_the_word_that_says_most_stays_and_so_do_special_tokens_which_never_come():
    changed = replace(TEXT, 1.0, 5000)
    for place in (1, 9, 3, 11, 12):  # 7 is the keyword of the text
        assert (changed[:, place] == TEXT[place]).all()
    assert (changed[:, [place for place, word in enumerate(TEXT) if word > 4]] > 4).all()
    assert not (changed[:, [0, 2, 4, 5]] == 10).any(), "nor does the keyword of the vocabulary come"
    assert changed.dtype == torch.int32


def test_nothing_is_replaced_where_no_word_says_less_than_another():
    for text in ([8], [0, 0, 0], [1, 0], [7, 11], [6, 10, 0]):
        assert (replace(text, 1.0, 100) == torch.tensor(text)).all()
    assert (replace(TEXT, 0.0, 100) == torch.tensor(TEXT)).all()


def test_all_words_come_alike_where_the_vocabulary_has_no_keyword():
    frequencies, idf = (FREQUENCIES > 0).float(), torch.ones(12)
    changed = replace([5, 5, 5, 6], 1.0, 20_000, frequencies, idf)[:, 3]
    assert (changed.bincount(minlength=12)[5:] / 20_000 - 1 / 7).abs().max() < 0.01


def test_texts_and_visits_differ_and_seeds_repeat():
    changed = replace(TEXT, 0.7, 2)
    assert not torch.equal(changed[0], changed[1])
    assert torch.equal(changed, replace(TEXT, 0.7, 2))


def switch(text, share, n):
    return views.switch_out(torch.tensor(text, dtype=torch.int32).repeat(n, 1), FREQUENCIES > 0, share, rng())


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_switchout_replaces_as_many_words_as_its_formula_says_anywhere_by_any_others(share):
    n, words = 40_000, [place for place, word in enumerate(TEXT) if word > 4]
    odds = [np.exp(-count / (share * len(words))) for count in range(len(words) + 1)]
    changed = switch(TEXT, share, n).numpy()
    replaced = changed != np.array(TEXT)
    counts = np.bincount(replaced.sum(1), minlength=len(words) + 1) / n
    assert np.abs(counts - np.array(odds) / sum(odds)).max() < 0.01
    assert not replaced[:, [3, 11, 12]].any(), "special tokens stay"
    assert np.ptp(replaced[:, words].mean(0)) < 0.02, "every place as often"
    came = np.bincount(changed[replaced[:, 1], 1], minlength=12) / replaced[:, 1].sum()
    assert np.abs(came[[5, 6, 8, 9, 10, 11]] - 1 / 6).max() < 0.03
    assert came[[0, 1, 2, 3, 4, 7]].sum() == 0, "neither special tokens nor the word itself"


def test_switchout_leaves_a_text_of_no_words_and_at_no_temperature_all():
    for text in ([0, 0, 0], [1, 0]):
        assert (switch(text, 1.0, 10) == torch.tensor(text)).all()
    assert (switch(TEXT, 0.0, 100) == torch.tensor(TEXT)).all()
    assert switch(TEXT, 0.5, 0).shape == (0, 13)
    assert switch(TEXT, 0.5, 3).dtype == torch.int32
