"""Encoders of clips."""

import pytest
import torch

from withhold import nets
from withhold.errors import UsageError
from withhold.methods import build, find

NAMES = ["conv3d", "r2plus1d-18"]


def clips(n, t, channels, size, seed=0):
    return torch.rand(n, t, channels, size, size, generator=torch.Generator().manual_seed(seed))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_the_mean_of_the_map(name, channels):
    encoder = nets.build(name, size=32, channels=channels).eval()
    x = clips(2, 8, channels, 32)
    with torch.no_grad():
        maps, features = encoder.maps(x), encoder(x)
        other = encoder(x.expand(-1, -1, 3, -1, -1) if channels == 1 else x.mean(2, keepdim=True))
    assert maps.shape == (2, encoder.dim, maps.shape[2], encoder.grid, encoder.grid)
    torch.testing.assert_close(features, maps.mean((2, 3, 4)))
    assert (features[0] - features[1]).abs().max() > 1e-4
    assert other.shape == features.shape


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("frames", "size"), [(1, 16), (5, 33), (16, 20)])
def test_clips_of_any_length_and_size_pass(name, frames, size):
    encoder = nets.build(name, size=32, channels=1).eval()
    with torch.no_grad():
        maps = encoder.maps(clips(1, frames, 1, size))
    assert maps.shape[3:] == (-(-size // encoder.stride),) * 2
    assert maps.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_frames_counts(name):
    """For an encoder of frames, it does not."""
    torch.manual_seed(0)
    encoder = nets.build(name, size=32, channels=1).eval()
    x = clips(1, 8, 1, 32)
    with torch.no_grad():
        assert (encoder(x) - encoder(x.flip(1))).abs().max() > 1e-4
        frames = nets.build("convnet", size=32, channels=1).eval()
        torch.testing.assert_close(frames(x), frames(x.flip(1)))


def test_a_clip_is_asked_for_in_its_own_words():
    with pytest.raises(ValueError, match=r"takes clips \[n, frames, channels, height, width\], not \[2, 3, 32, 32\]"):
        nets.build("conv3d", size=32, channels=3)(torch.rand(2, 3, 32, 32))


def test_r2plus1d_has_as_many_weights_as_the_3d_network_that_it_factors():
    """33.4 million with 400 classes: the 33.3 of Tran et al., table 1, were counted without normalisation."""
    encoder = nets.build("r2plus1d-18", size=112, channels=3)
    full = 27 * (4 * 64 * 64)
    for inputs, outputs in ((64, 128), (128, 256), (256, 512)):
        full += 27 * (inputs * outputs + 3 * outputs * outputs)
    kernels = {name: p.numel() for name, p in encoder.named_parameters() if p.ndim == 5}
    factored = sum(n for name, n in kernels.items() if "rest" in name and "around" not in name)
    assert factored == pytest.approx(full, rel=0.001)
    assert round((sum(kernels.values()) + 512 * 400) / 1e6, 1) == 33.3


def test_r2plus1d_has_torchvisions_parameters_but_for_its_narrower_second_convolutions():
    """torchvision takes 230, 460 and 921 channels inside both convolutions of a block that halves time; its model of
    400 classes has 31,505,325 parameters. The authors' network, as their code is, has 288, 576 and 1152 in the second.
    """
    encoder = nets.build("r2plus1d-18", size=112, channels=3)
    more = 0
    for outputs, theirs, ours in ((128, 230, 288), (256, 460, 576), (512, 921, 1152)):
        more += (ours - theirs) * (9 * outputs + 3 * outputs + 2)  # of either kernel, and of the normalisation
    assert parameters(encoder) + 512 * 400 + 400 == 31_505_325 + more


def test_the_first_widths_between_are_the_published_ones():
    encoder = nets.build("r2plus1d-18", size=112, channels=3)
    widths = [p.shape[0] for n, p in encoder.rest.named_parameters() if p.ndim == 5 and p.shape[3] == 3]
    assert widths == [144, 144, 144, 144, 230, 288, 288, 288, 460, 576, 576, 576, 921, 1152, 1152, 1152]


def test_conv3d_pools_time_from_its_second_block_on():
    blocks = nets.build("conv3d", size=32, channels=1).blocks
    x = clips(1, 16, 1, 32).transpose(1, 2)
    seen = []
    for layer in blocks:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            seen.append(tuple(x.shape[1:]))
    assert seen == [(32, 16, 16, 16), (64, 8, 8, 8), (128, 4, 4, 4), (256, 4, 4, 4)]


def test_a_method_of_images_takes_no_encoder_of_clips():
    with pytest.raises(UsageError, match="rotation takes an encoder of the class ImageEncoder, not Conv3d"):
        build(find("rotation"), nets.build("conv3d", size=32, channels=3), {})
