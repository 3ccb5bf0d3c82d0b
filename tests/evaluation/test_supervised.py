import torch

from withhold.evaluation.supervised import train

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
