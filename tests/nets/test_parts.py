"""Heads, teachers, memories, decoders, generators, discriminators and running statistics."""

import copy
import math

import pytest
import torch
from torch import nn

from withhold import losses, nets
from withhold.training.ranks import synchronize_batch_norm


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kinds(module):
    return [type(part).__name__ for part in module]


def test_a_perceptron_is_normalised_where_asked():
    assert kinds(nets.mlp((8, 16, 4))) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert kinds(nets.mlp((8, 16, 16, 4), norm=False)) == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert kinds(nets.mlp((8, 4))) == ["Linear"]
    last = nets.mlp((8, 16, 4), last_norm=True)
    out = last(random(64, 8))
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(4), atol=1e-2, rtol=0)
    assert last[-1].weight is None


def test_a_channel_wise_layer_is_a_linear_one_inside_each_channel():
    layer, maps = nets.ChannelWise(3, 2), random(5, 3, 2, 2)
    mixed = layer(maps)
    for channel in range(3):
        expected = maps[:, channel].flatten(1) @ layer.weight[channel]
        torch.testing.assert_close(mixed[:, channel].flatten(1), expected)


def test_a_teacher_is_a_geometric_average_of_its_student():
    student = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    teacher = nets.Teacher(student)
    expected = [value.clone().double() for value in student.state_dict().values()]
    for step in range(5):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(random(*parameter.shape, seed=step))
        student(random(8, 3, seed=step))  # moves the running statistics and their count
        teacher.update(student, 0.9)
        expected = [0.9 * old + 0.1 * new for old, new in zip(expected, student.state_dict().values(), strict=True)]
    for (name, found), value in zip(teacher.network.state_dict().items(), expected, strict=True):
        if found.is_floating_point():
            torch.testing.assert_close(found.double(), value, rtol=1e-5, atol=1e-6)
        else:
            assert found == student.state_dict()[name] == 5


def test_a_teacher_has_no_gradient():
    teacher = nets.Teacher(nn.Linear(3, 3))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.ones(1, 3, requires_grad=True)).requires_grad


def test_momentum_rises_to_one():
    assert nets.cosine_momentum(0.96, 0) == pytest.approx(0.96)
    assert nets.cosine_momentum(0.96, 0.5) == pytest.approx(0.98)
    assert nets.cosine_momentum(0.96, 1) == 1


@pytest.mark.parametrize(("size", "batch"), [(12, 4), (10, 4), (4, 4), (5, 8)])
def test_a_queue_holds_the_latest_keys(size, batch):
    queue = nets.Queue(size, 3)
    expected = list(queue.keys)
    place = 0
    for step in range(7):
        keys = random(batch, 3, seed=step)
        assert queue.full == (step * batch >= size)
        queue.enqueue(keys)
        latest = keys[-size:]
        for key in latest:
            expected[place] = key / key.norm()
            place = (place + 1) % size
        torch.testing.assert_close(queue.keys, torch.stack(expected))
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(size))


def test_a_queue_goes_on_from_its_state():
    queue, other = nets.Queue(6, 3), nets.Queue(6, 3)
    queue.enqueue(random(4, 3))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.enqueue(random(4, 3, seed=1))
    assert torch.equal(queue.keys, other.keys)


def test_a_bank_moves_only_what_it_is_told_to():
    bank = nets.MemoryBank(10, 4, momentum=0.5)
    before, fresh = bank.features.clone(), random(3, 4)
    bank.update(torch.tensor([7, 2, 4]), fresh)
    for row, index in enumerate([7, 2, 4]):
        middle = before[index] + fresh[row] / fresh[row].norm()
        torch.testing.assert_close(bank.features[index], middle / middle.norm())
    rest = [0, 1, 3, 5, 6, 8, 9]
    assert torch.equal(bank.features[rest], before[rest])


@pytest.mark.parametrize(("size", "batch"), [(5, 1), (5, 3), (4, 16), (7, 7), (50, 8)])
def test_a_pool_swaps_half_of_the_images_once_it_is_full(size, batch):
    """Compared with a loop over images, as in the authors' code, with the same random numbers."""
    pool, rng = nets.ImagePool(size, 1, 1), torch.Generator().manual_seed(0)
    stored, count, swaps = [], 0, 0
    for step in range(30):
        images = torch.arange(step * batch, (step + 1) * batch).float().view(-1, 1, 1, 1) + 1
        state = rng.get_state()
        shown = pool.swap(images, rng)
        after = rng.get_state()
        rng.set_state(state)
        coins = torch.rand(batch, generator=rng).tolist()
        places = torch.randint(size, (batch,), generator=rng).tolist()
        assert torch.equal(rng.get_state(), after)
        expected = []
        for image, coin, place in zip(images.flatten().tolist(), coins, places, strict=True):
            if len(stored) < size:
                stored.append(image)
                expected.append(image)
                continue
            count += 1
            if coin < 0.5:
                swaps += 1
                expected.append(stored[place])
                stored[place] = image
            else:
                expected.append(image)
        assert shown.flatten().tolist() == expected
        assert pool.images.flatten()[: len(stored)].tolist() == stored
        assert int(pool.filled) == len(stored)
    assert abs(swaps - count / 2) < 4 * (count / 4) ** 0.5


def test_a_pool_goes_on_from_its_state_and_keeps_no_gradient():
    pool, other = nets.ImagePool(3, 3, 8), nets.ImagePool(3, 3, 8)
    pool.swap(random(5, 3, 8, 8).requires_grad_(), torch.Generator().manual_seed(0))
    assert not pool.images.requires_grad
    other.load_state_dict(pool.state_dict())
    shown = [each.swap(random(4, 3, 8, 8, seed=1), torch.Generator().manual_seed(1)) for each in (pool, other)]
    assert torch.equal(*shown)
    assert torch.equal(pool.images, other.images)


@pytest.mark.parametrize(
    ("size", "stride"), [(8, 8), (28, 8), (32, 8), (33, 8), (96, 12), (96, 8), (50, 5), (12, 1), (64, 32)]
)
def test_a_decoder_gives_back_the_size(size, stride):
    grid = math.ceil(size / stride)
    decoder = nets.Decoder(64, 3, grid, size)
    assert decoder(random(2, 64, grid, grid)).shape == (2, 3, size, size)


@pytest.mark.parametrize(("size", "stride"), [(28, 8), (32, 8), (60, 12)])
def test_a_decoder_paints_a_cell_where_the_encoder_saw_it(size, stride):
    grid = math.ceil(size / stride)
    torch.manual_seed(0)
    decoder = nets.Decoder(32, 1, grid, size).eval()
    maps = random(1, 32, grid, grid)
    changed = maps.clone()
    changed[:, :, 1, 2] += 1
    with torch.no_grad():
        change = (decoder(changed) - decoder(maps)).abs()[0, 0]
    pixels = torch.arange(size)
    row, column = ((change.sum(dim) * pixels).sum() / change.sum() for dim in (1, 0))
    assert row.item() == pytest.approx(1.5 * stride - 0.5, abs=stride / 4)
    assert column.item() == pytest.approx(2.5 * stride - 0.5, abs=stride / 4)


def test_a_decoder_can_learn_an_image():
    torch.manual_seed(0)
    decoder = nets.Decoder(32, 1, 4, 28)
    code, image = random(4, 32, 4, 4), random(4, 1, 7, 7, seed=1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        error = (decoder(code) - image).square().mean()
        error.backward()
        optimizer.step()
    assert error < 0.3 * image.var()


@pytest.mark.parametrize("size", [5, 8, 28, 30, 33, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_generator_gives_back_size_channels_and_range(size, channels):
    generator = nets.Generator(channels, width=4, blocks=1)
    made = generator(torch.rand(2, channels, size, size))
    assert made.shape == (2, channels, size, size)
    assert made.min() >= 0
    assert made.max() <= 1


def test_a_generator_is_the_papers():
    """c7s1-64, d128, d256, nine blocks, u128, u64, c7s1-3: 11.4 million weights, and the last layer's biases."""
    generator = nets.Generator(3, width=64, blocks=9)
    weights = 49 * 3 * 64 + 9 * 64 * 128 + 9 * 128 * 256 + 9 * 2 * 9 * 256**2 + 9 * 256 * 128 + 9 * 128 * 64
    assert sum(p.numel() for p in generator.parameters()) == weights + 49 * 64 * 3 + 3
    assert generator.layers[0].weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_a_generator_treats_every_image_alone_and_alike_in_training_and_after():
    generator = nets.Generator(3, width=4, blocks=2)
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    together = generator(images)
    torch.testing.assert_close(together, torch.cat([generator(image[None]) for image in images]))
    torch.testing.assert_close(generator.eval()(images), together)


def test_a_generator_keeps_details_where_they_are():
    """It consists of convolutions: except through instance statistics, a change in a corner stays local."""
    torch.manual_seed(0)
    generator = nets.Generator(1, width=4, blocks=1)
    for module in generator.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.forward = lambda x: x * 10
    images = torch.rand(1, 1, 64, 64)
    changed = images.clone()
    changed[..., :4, :4] = 0
    change = (generator(changed) - generator(images)).abs()[0, 0]
    assert change[:8, :8].max() > 0
    assert change[40:, :].max() == change[:, 40:].max() == 0


@pytest.mark.parametrize("size", [4, 7, 8, 16, 28, 31, 32, 64])
def test_a_discriminator_gives_one_score_an_image(size):
    assert nets.Discriminator(3, size)(torch.rand(2, 3, size, size)).shape == (2,)


def test_a_discriminators_scores_are_linear_in_its_features_and_another_norm_sees_an_image_alone():
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    critic = nets.Discriminator(1, 32, norm=lambda channels: torch.nn.GroupNorm(1, channels))
    features, last = critic.features(images), critic.layers[-2]
    assert features.shape == (3, 256, 4, 4)
    torch.testing.assert_close(critic(images), features.flatten(1) @ last.weight[0].flatten() + last.bias)
    torch.testing.assert_close(critic(images)[1:], critic(images[1:]))
    alone = nets.Discriminator(1, 32)
    assert not torch.allclose(alone(images)[1:], alone(images[1:]), atol=1e-3)


def test_a_discriminator_learns_to_tell():
    torch.manual_seed(0)
    critic = nets.Discriminator(1, 16)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3)
    for step in range(40):
        rng = torch.Generator().manual_seed(step)
        made = torch.rand(16, 1, 16, 16, generator=rng)
        true = torch.rand(16, 1, 4, 4, generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3)
        optimizer.zero_grad()
        loss = losses.discriminator_loss(critic(true), critic(made))
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * math.log(4)


def test_statistics_are_the_plain_average_over_batches():
    encoder = nets.build("convnet", size=16, channels=1)
    encoder.blocks[0].eval()
    batches = [torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    encoder(batches[0] * 0.1)
    weights = [parameter.clone() for parameter in encoder.parameters()]
    nets.refresh_statistics(encoder, batches)
    norm = encoder.blocks[1]
    with torch.no_grad():
        maps = [encoder.blocks[0](encoder.normalize(batch)) for batch in batches]
    torch.testing.assert_close(norm.running_mean, torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0))
    assert norm.momentum == 0.1
    assert encoder.training
    assert norm.training
    assert not encoder.blocks[0].training
    assert all(torch.equal(a, b) for a, b in zip(weights, encoder.parameters(), strict=True))


def test_layers_that_no_batch_goes_through_keep_their_statistics():
    network = nn.ModuleDict({"used": nn.BatchNorm1d(3), "other": nn.BatchNorm1d(3)})
    network["other"].running_mean.fill_(7)
    nets.refresh_statistics(network, [torch.ones(4, 3)], network["used"])
    assert network["used"].running_mean.tolist() == [1, 1, 1]
    assert network["other"].running_mean.tolist() == [7, 7, 7]


def test_the_statistics_of_a_part_are_those_of_what_comes_to_it():
    torch.manual_seed(0)
    first, second = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), nn.BatchNorm1d(3)
    first.eval()
    before = copy.deepcopy(first.state_dict())
    batches = [torch.rand(6, 3) for _ in range(4)]
    nets.refresh_statistics(second, batches, lambda batch: second(first(batch)))
    with torch.no_grad():
        torch.testing.assert_close(second.running_mean, torch.cat([first(batch) for batch in batches]).mean(0))
    assert all(torch.equal(before[key], value) for key, value in first.state_dict().items())


def test_without_batch_norm_there_is_nothing_to_refresh():
    nets.refresh_statistics(nets.build("vit-tiny", size=16, channels=1), iter(lambda: 1 / 0, None))


def test_held_statistics_stay_in_training_and_when_others_are_refreshed():
    encoder = nets.build("convnet", size=16, channels=3)
    held = nets.build("convnet", size=16, channels=3)
    held.load_state_dict(encoder.state_dict())
    nets.hold_statistics(held)
    assert held.state_dict().keys() == encoder.state_dict().keys()
    x = torch.rand(8, 3, 16, 16)
    before = {name: value.clone() for name, value in held.named_buffers()}
    alone = held.train()(x)[:1]
    torch.testing.assert_close(held(x[:1]), alone)  # whatever else is in the batch
    nets.refresh_statistics(held, [x])
    synchronize_batch_norm(held)
    copy.deepcopy(held).train()(x)
    assert all(torch.equal(value, before[name]) for name, value in held.named_buffers())
    held(x).sum().backward()
    assert all(weight.grad is not None for weight in held.parameters())
