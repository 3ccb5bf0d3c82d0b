"""Properties of the encoders of texts."""

import copy

import numpy as np
import pytest
import torch

from withhold import data, nets
from withhold.data.tables import Lines
from withhold.data.texts import train_tokenizer

TOKENS = torch.tensor([[7, 6, 9, 8, 3, 10], [6, 7, 8, 0, 0, 0], [8, 8, 1, 2, 9, 0]], dtype=torch.int32)


@pytest.fixture
def build(tmp_path):
    """(name) -> an encoder for windows of eight tokens, of a vocabulary of eleven."""
    path = tmp_path / "tokenizer.json"
    train_tokenizer(Lines(["the cat sat on a mat"] * 5), "words", "here").save(str(path))

    def build(name):
        torch.manual_seed(0)
        known = {"tokenizer": str(path), "tokens": 8}
        return nets.build(name, **{field: known[field] for field in nets.takes(name)}).eval()

    return build


@pytest.mark.parametrize("name", ["text-transformer", "word-vectors"])
def test_features_are_the_mean_of_the_map_over_what_counts(build, name):
    encoder = build(name)
    maps, features = encoder.maps(TOKENS), encoder(TOKENS)
    assert maps.shape == (3, encoder.dim, 6)
    for row, tokens in enumerate(TOKENS.tolist()):
        counted = [place for place, number in enumerate(tokens) if number > (0 if name == "text-transformer" else 4)]
        torch.testing.assert_close(features[row], maps[row][:, counted].mean(1))
    nothing = encoder(torch.zeros(1, 6, dtype=torch.int32))
    assert (nothing == 0).all()
    assert isinstance(encoder, nets.TextEncoder)


@pytest.mark.parametrize("name", ["text-transformer", "word-vectors"])
def test_padding_changes_nothing(build, name):
    encoder = build(name)
    torch.testing.assert_close(encoder(TOKENS[1:2, :3]), encoder(TOKENS[1:2]))
    torch.testing.assert_close(encoder.maps(TOKENS[1:2, :3]), encoder.maps(TOKENS)[1:2, :, :3])


@pytest.mark.parametrize("name", ["text-transformer", "word-vectors"])
def test_a_copy_is_the_same(build, name):
    encoder = build(name)
    other = copy.deepcopy(encoder)
    assert torch.equal(other(TOKENS), encoder(TOKENS))
    assert other.words(TOKENS)[1] == "cat mat on"
    assert encoder.vocabulary == 11 and encoder.special["[MASK]"] == 4
    assert encoder.ordinary.tolist() == [False] * 5 + [True] * 6


def test_every_token_of_a_document_counts_once_however_it_is_cut(build):
    documents = [[6, 7, 8, 9, 6, 6, 7, 8, 9, 10, 6], [6, 7, 1], [9] * 9]  # the first has two windows, that overlap
    ends = np.cumsum([len(tokens) for tokens in documents])
    spans = np.stack([ends - [len(tokens) for tokens in documents], ends], axis=1)
    texts = data.Series(np.concatenate(documents), spans, 8, "text", 1.0, np.arange(3), names=np.array(["a", "b", "c"]))
    encoder = build("word-vectors")
    assert len(texts.windows()) == 5 and len(texts.windows().items) == 3
    for stream in (texts, texts.windows(), texts.windows().windows()):
        assert encoder.occurrences(stream).tolist() == [0] * 5 + [0, 5, 3, 2, 11, 1]
        assert encoder.spread(stream).tolist() == [0] * 5 + [0, 2, 2, 1, 2, 1]
    assert encoder.occurrences(texts.windows().select([0])).sum() == 8


def test_a_transformer_knows_order_and_segments(build):
    encoder = build("text-transformer")
    assert (encoder(TOKENS[1:2]) - encoder(TOKENS[1:2, [1, 0, 2, 3, 4, 5]])).abs().max() > 1e-3
    embedded = []
    encoder.norm.register_forward_pre_hook(lambda _, inputs: embedded.append(inputs[0]))
    encoder.maps(TOKENS)
    segments = embedded[0] - encoder.embed(TOKENS) - encoder.positions[:6]
    torch.testing.assert_close(segments[0], encoder.segments(torch.tensor([0, 0, 0, 0, 0, 1])))  # 3 is [SEP]
    torch.testing.assert_close(segments[1], encoder.segments(torch.zeros(6, dtype=torch.int64)))
    assert encoder.maps(torch.full((1, 11), 6)).shape == (1, 192, 11)  # eight, [CLS] and two [SEP]
    with pytest.raises(ValueError, match=r"at most 11 tokens, not 12\. Use shorter windows"):
        encoder.maps(torch.full((1, 12), 6))


def test_word_vectors_begin_small(build):
    weight = build("word-vectors").embed.weight.detach()
    assert weight.abs().max() <= 0.005 and weight.std().item() == pytest.approx(0.01 / 12**0.5, rel=0.1)


@pytest.mark.parametrize("name", ["text-transformer", "word-vectors"])
def test_an_empty_text_has_zero_features(build, name):
    encoder = build(name)
    assert not encoder(encoder.cut("")).any()
