import sys

import numpy as np
import pytest
import torch
from torch import nn

from withhold import kinds, nets, views
from withhold.errors import WithholdError
from withhold.evaluation.features import plain_batches


def test_features_do_not_depend_on_the_batch_size(encoder, make_samples):
    samples = make_samples([0, 1, 2] * 5)
    whole = nets.features(encoder, samples)
    assert whole.shape == (15, encoder.dim)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(nets.features(encoder, samples, batch_size=4), whole)


def test_features_are_those_of_eval_mode_and_each_mode_is_put_back(encoder, make_samples):
    samples = make_samples([0, 1, 2])
    images = views.to_float(samples.batch(range(3)))
    with torch.no_grad():
        expected = encoder.eval()(images)
    encoder.train()
    frozen_part = next(part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d)).eval()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    found = nets.features(encoder, samples)
    torch.testing.assert_close(found, expected)
    assert encoder.training
    assert not frozen_part.training
    assert all(torch.equal(state[name], value) for name, value in encoder.state_dict().items())


def test_features_can_be_learned_on(encoder, make_samples):
    head = nn.Linear(encoder.dim, 2)
    head(nets.features(encoder, make_samples([0, 1]))).sum().backward()
    assert head.weight.grad is not None


def test_features_that_are_not_finite_are_an_error(encoder, make_samples):
    with torch.no_grad():
        next(encoder.parameters())[0] = float("nan")
    with pytest.raises(WithholdError) as error:
        nets.features(encoder, make_samples([0, 1, 2]))
    assert str(error.value) == (
        "The encoder's features of 3 of 3 items are not finite: its training diverged. Train again with a lower --lr."
    )


def test_pixels_are_the_images_rows(make_samples):
    samples = make_samples([0, 1, 2])
    expected = torch.from_numpy(samples.array).reshape(3, -1) / 255
    torch.testing.assert_close(kinds.of(samples.kind).raw(samples), expected)


def test_pixels_of_large_images_are_block_means(photos):
    from withhold import data

    samples = data.load((np.repeat(np.repeat(photos[:4], 2, 1), 2, 2), np.arange(4)), size=64)
    torch.testing.assert_close(
        kinds.of(samples.kind).raw(samples), torch.from_numpy(photos[:4]).permute(0, 3, 1, 2).flatten(1) / 255
    )


def test_plain_batches_are_distinct_whole_images(make_samples):
    samples = make_samples([0] * 600)
    found = torch.cat(list(plain_batches([samples], "cpu", most=500)))
    assert len(found.flatten(1).unique(dim=0)) == 500
    everything = {row.numpy().tobytes() for row in views.to_float(samples.batch(range(600)))}
    assert all(row.numpy().tobytes() in everything for row in found)


def test_plain_batches_of_two_streams_have_a_part_of_each_until_one_ends(make_samples):
    streams = [make_samples([0] * count) for count in (300, 600)]
    parts = list(plain_batches(streams, "cpu"))
    assert [len(part) for part in parts] == [350, 350, 200]  # of nearly equal size, so that one item counts as another


def test_batch_statistics_are_those_of_all_images_though_these_lie_in_order_of_class(make_samples):
    samples = make_samples([k // 129 for k in range(8 * 129)])
    samples.array[:] = np.linspace(0, 255, len(samples)).astype(np.uint8).reshape(-1, 1, 1, 1)
    norm = nn.BatchNorm2d(samples.shape[2], affine=False)
    nets.refresh_statistics(norm, plain_batches([samples], "cpu"))
    images = views.to_float(samples.batch(range(len(samples))))
    torch.testing.assert_close(norm.running_mean, images.mean((0, 2, 3)), rtol=0.002, atol=0)
    torch.testing.assert_close(norm.running_var, images.var((0, 2, 3)), rtol=0.02, atol=0)


def test_features_are_float32_whatever_the_autocast(encoder, make_samples):
    samples = make_samples([0, 1, 2])
    expected = nets.features(encoder, samples)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nets.features(encoder, samples), expected)


def test_large_items_are_taken_few_at_a_time(make_samples, monkeypatch):
    monkeypatch.setattr(sys.modules["withhold.nets.features"], "VALUES", 3 * 64)
    seen = []
    samples = make_samples([0] * 7)
    nets.rows(nn.Identity(), lambda images: seen.append(len(images)) or images.flatten(1), samples, "cpu")
    assert seen == [3, 2, 2]
