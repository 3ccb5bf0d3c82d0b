import pytest
import torch

from withhold.evaluation.features import plain_batches
from withhold.evaluation.supervised import train
from withhold.nets import logistic

CPU = torch.device("cpu")


def test_what_has_learned_moves_less_and_least_at_the_input(encoder, digits):
    """Adam's first steps have the length of the learning rate, whatever the gradient."""
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    moved = []
    for learned in (True, False):
        tuned = train(encoder, digits[0], learned=learned, images=128, seed=0, device=CPU)
        moved.append([(value - before[name]).abs().max() for name, value in tuned.encoder.named_parameters()])
    ratios = [(small / large).item() for small, large in zip(*moved, strict=True)]
    first, last = ratios[0], ratios[-1]
    assert 0.24 < last < 0.36
    stages = len(encoder.stages())
    assert 0.24 * 0.9 ** (stages - 1) < first < 0.36 * 0.9 ** (stages - 1)


def test_training_repeats_itself_and_draws_nothing_from_torchs_own_generator(encoder, digits):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (
        train(encoder, digits[0], learned=False, images=256, seed=3, device=CPU).state_dict() for _ in range(2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("learned", [True, False])
def test_only_what_has_learned_begins_with_a_probe(encoder, digits, monkeypatch, learned):
    fitted = []
    probe = logistic.probe
    monkeypatch.setattr(logistic, "probe", lambda *args: fitted.append(1) or probe(*args))
    train(encoder, digits[0], learned=learned, images=64, seed=0, device=CPU)
    assert bool(fitted) == learned


def test_batch_statistics_are_those_of_plain_items_at_the_end(encoder, digits):
    tuned = train(encoder, digits[0], learned=True, images=256, seed=0, device=CPU)
    assert not tuned.training
    norm = next(part for part in tuned.encoder.modules() if isinstance(part, torch.nn.BatchNorm2d))
    inputs = []
    norm.register_forward_hook(lambda module, given, out: inputs.append(given[0]))
    with torch.no_grad():
        tuned.encoder(next(plain_batches([digits[0]], CPU)))
    torch.testing.assert_close(norm.running_mean, inputs[0].mean((0, 2, 3)), atol=0.05, rtol=0.05)
