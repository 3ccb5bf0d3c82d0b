import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit
from withhold import nets
from withhold.contract.tiny import CLASSES, TOPICS, texts, tokenizer
from withhold.methods.semisupervised.uda_text import UDAText


def make(**parameters):
    torch.manual_seed(0)
    encoder = nets.build("word-vectors", tokenizer=tokenizer("words"))
    return UDAText(encoder, CLASSES, tokens=32, tokenizer="words", **parameters)


def prepared(**parameters):
    method, samples = make(**parameters), texts("words", 32)
    method.prepare(labelled=samples.select(range(4)).windows(), unlabelled=samples.windows())
    return method


def streams(labelled=4, unlabelled=24):
    """Sentences on the sea (class 0) and on bread (class 1), a few of them with their labels."""
    samples = texts("words", 32)
    labels = torch.from_numpy(samples.labels[:labelled])
    return {
        "labelled": (samples.batch(range(labelled)), labels),
        "unlabelled": samples.batch(range(labelled, labelled + unlabelled)),
    }


LABELS = torch.tensor([1, 0])
ANSWERS = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.05, 0.95]])
SCORES = torch.tensor([[0.0, 1], [3, 0], [1, 2], [0, 1], [2, 1]])


def test_words_of_unlabelled_texts_are_counted_and_so_are_the_texts_that_have_them():
    method, documents = prepared(), texts("words", 32)  # of which the longer ones are cut, in windows that overlap
    rows = [documents.whole(row).tolist() for row in range(len(documents))]
    for number in range(method.encoder.vocabulary):
        count, having = sum(row.count(number) for row in rows), sum(number in row for row in rows)
        assert method.frequencies[number] == (count if number > 4 else 0)
        if number > 4:
            assert method.idf[number].item() == pytest.approx(math.log(len(rows) / having), abs=1e-6)
    other = make()
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.frequencies, method.frequencies) and torch.equal(other.idf, method.idf)


def test_only_the_unlabelled_texts_are_changed_and_answers_are_to_them_unchanged():
    method, batch = prepared(), streams()
    with torch.no_grad():
        method.teacher.network[1].bias.add_(torch.tensor([3.0, 0]))  # whose answers they are not
    method.seed(0)
    seen, (labels, answers, unchanged) = method.hide(batch)
    assert torch.equal(seen[:4], batch["labelled"][0])
    assert torch.equal(labels, batch["labelled"][1])
    assert torch.equal(unchanged, batch["unlabelled"])
    padded = {"labelled": (F.pad(batch["labelled"][0], (0, 9)), labels), "unlabelled": F.pad(unchanged, (0, 9))}
    method.seed(0)
    assert torch.equal(method.hide(padded)[0], seen), "what all end in is cut off"
    torch.testing.assert_close(answers, method.predict(batch["unlabelled"]).softmax(1))
    assert not answers.requires_grad
    words = batch["unlabelled"] > 4
    changed = seen[4:] != batch["unlabelled"]
    assert 0.3 < changed[words].float().mean() < 0.8
    assert not changed[~words].any()
    seen, _ = prepared(share=0.0).hide(batch)
    assert torch.equal(seen[4:], batch["unlabelled"])


def test_labelled_texts_may_be_changed_too():
    seen, (labels, _, plain) = prepared(labelled_views="strong").hide(streams())
    unchanged, _ = prepared().hide(streams())
    assert not torch.equal(seen[: len(labels)], unchanged[: len(labels)]) and len(seen) == len(labels) + len(plain)


def test_without_weight_words_are_counted_in_the_labelled_texts():
    samples = texts("words", 32)
    labelled, unlabelled = samples.select(range(4)).windows(), samples.windows()
    method, same = (make(weight=0.0) for _ in range(2))
    method.prepare(labelled, unlabelled)
    same.prepare(labelled, labelled)  # any other texts
    assert torch.equal(method.frequencies, same.frequencies) and torch.equal(method.idf, same.idf)
    assert torch.equal(method.frequencies, method.encoder.occurrences(labelled))


def test_switchout_replaces_words_that_say_much_too():
    method, batch = prepared(augmentation="switchout", share=1.0), streams()
    seen, _ = method.hide(batch)
    texts, changed = batch["unlabelled"], seen[4:] != batch["unlabelled"]
    telling = method.idf[texts] == (method.idf[texts] * (texts > 4)).amax(1, keepdim=True)
    assert changed[telling & (texts > 4)].float().mean() > 0.2
    assert not changed[texts <= 4].any()
    assert (seen[4:][changed] > 4).all()


def test_loss_is_annealed_cross_entropy_and_the_divergence_of_sure_answers_over_all():
    method = make(weight=2.0, temperature=0.5, confidence=0.8, annealing="linear")
    method.progress = 0.8  # 0.9 is the most that counts: the second is known to 0.95
    said = SCORES.softmax(1).tolist()
    assert said[1][0] > 0.9
    divergence = 0.0
    for row, answer in zip(said[2:], ANSWERS.tolist(), strict=True):
        if max(answer) > 0.8:
            powers = [share**2 for share in answer]
            divergence += sum(p / sum(powers) * math.log(p / sum(powers) / q) for p, q in zip(powers, row, strict=True))
    terms = method.loss(SCORES, (LABELS, ANSWERS, None))
    assert terms["supervised"].item() == pytest.approx(-math.log(said[0][1]), rel=1e-5)
    assert terms["loss"].item() == pytest.approx(-math.log(said[0][1]) + 2 * divergence / 3, rel=1e-5)
    assert terms["counted"].item() == pytest.approx(2 / 3)
    assert terms["accuracy"].item() == 1


def test_a_few_labels_name_the_other_texts():
    """Two of each topic, which between them lack words of the others."""
    method = prepared(annealing="none", momentum=0.9)
    first, *_, last = overfit(method, streams(), seeds=range(60), lr=2e-2)
    assert last["supervised"] < 0.5 * first["supervised"]
    samples = texts("words", 32)
    said = method.eval().classify(samples.batch(range(64, 128))).argmax(1)
    assert (said == torch.from_numpy(samples.labels[64:])).float().mean() > 0.95


def test_the_picture_shows_words():
    method = prepared()
    visible, withheld = method.hide(streams())
    columns = method.picture(visible, withheld, method.predict(visible))
    assert list(columns) == ["seen", "guess", "guessed from", "labelled", "label", "said"]
    assert {len(column) for column in columns.values()} == {4}
    known = set("".join(sentence for topic in TOPICS for sentence in topic).split()) | {".", "[UNK]"}
    for title in ("seen", "guessed from", "labelled"):
        assert set(" ".join(columns[title]).split()) <= known
    assert columns["seen"] != columns["guessed from"]
