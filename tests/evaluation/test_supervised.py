import torch
from torch.nn import functional as F

from withhold.evaluation.supervised import Finetune, Supervised, train


def test_the_loss_is_cross_entropy_on_the_given_labels(encoder, digits):
    method = Supervised(encoder, list("0123456789"))
    images, labels = digits[0].batch(range(8)), torch.as_tensor(digits[0].labels[:8])
    visible, withheld = method.withhold(labelled=(images, labels))
    assert visible.shape == images.shape
    assert torch.equal(withheld, labels)
    scores = method.predict(visible)
    terms = method.loss(scores, withheld)
    torch.testing.assert_close(terms["loss"], -scores.log_softmax(1)[range(8), labels].mean())
    torch.testing.assert_close(F.cross_entropy(torch.zeros(8, 10), labels).item(), terms["trivial"])


def test_finetuning_moves_the_encoder_a_tenth_as_fast(encoder, digits):
    """Adam's first steps have the length of the learning rate, whatever the gradient."""
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    tuned = train(Finetune, encoder, digits[0], images=128, seed=0, device=torch.device("cpu"))
    steps = [(value - before[name]).abs().max() for name, value in tuned.encoder.named_parameters()]
    supervised = train(Supervised, encoder, digits[0], images=128, seed=0, device=torch.device("cpu"))
    full = [(value - before[name]).abs().max() for name, value in supervised.encoder.named_parameters()]
    ratios = [(small / large).item() for small, large in zip(steps, full, strict=True) if large > 0]
    assert 0.08 < sorted(ratios)[len(ratios) // 2] < 0.12


def test_training_repeats_itself_and_draws_nothing_from_torchs_own_generator(encoder, digits):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (
        train(Supervised, encoder, digits[0], images=256, seed=3, device=torch.device("cpu")).state_dict()
        for _ in range(2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
