"""Properties of every encoder of the library."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.nets.toys import check_onnx, images
from withhold import nets, views
from withhold.contract.tiny import tokenizer
from withhold.errors import UsageError
from withhold.nets.vit import Block, patch_size

IMAGES = [
    "convnet", "fineconv", "lenet", "perceptron", "pixelconv", "resnet18", "resnet34", "resnet50", "vit-tiny",
    "vit-small",
    "efficientnet-lite0",
]  # fmt: skip
OTHERS = [
    "audio-cnn", "audio-efficientnet-lite0", "audiovisual", "conv3d", "convnet-lstm", "r2plus1d-18", "split-convnet",
    "text-transformer", "word-vectors",
]  # fmt: skip
HALVES = (slice(0, 128), slice(128, 256))
LIGHT = ["convnet", "fineconv", "lenet", "perceptron", "pixelconv", "resnet18", "vit-tiny"]


def test_every_kind_has_a_name():
    assert set(IMAGES + OTHERS) == set(nets.names())


@pytest.mark.parametrize(
    ("name", "inputs", "lacking"),
    [
        ("audio-cnn", {"size": 32, "channels": 3}, "no rate"),
        ("convnet", {"tokenizer": "tokenizer.json", "tokens": 64}, "no size and no channels"),
        ("timm:some_model", {"rate": 16_000}, "no size and no channels"),
    ],
)
def test_an_encoder_for_other_data_is_refused(name, inputs, lacking):
    with pytest.raises(
        UsageError, match=f"^{name} is an encoder for other data: these have {lacking}. Leave --encoder"
    ):
        nets.build(name, **inputs)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_the_mean_of_the_map(name, channels):
    encoder = nets.build(name, size=32, channels=channels).eval()
    x = images(2, channels, 32)
    with torch.no_grad():
        maps, features = encoder.maps(x), encoder(x)
        other = encoder(x.expand(-1, 3, -1, -1) if channels == 1 else x.mean(1, keepdim=True))
    assert maps.shape == (2, encoder.dim, encoder.grid, encoder.grid)
    torch.testing.assert_close(features, maps.mean((2, 3)))
    assert features.isfinite().all()
    assert (features[0] - features[1]).abs().max() > 1e-4
    assert other.shape == features.shape


@pytest.mark.parametrize("name", LIGHT)
def test_a_forgotten_batch_dimension_is_named(name):
    encoder = nets.build(name, size=32, channels=3)
    sentence = r"takes images \[n, channels, height, width\], not \[3, 32, 32\]\. Pass a single image as image\[None\]"
    with pytest.raises(ValueError, match=sentence):
        encoder(torch.rand(3, 32, 32))


@pytest.mark.parametrize("name", LIGHT)
@pytest.mark.parametrize("size", [8, 28, 33, 63, 64, 90, 96])
def test_the_grid_is_what_it_says_at_every_size(name, size):
    if name == "vit-tiny" and size == 33:
        size = 30
    if name == "lenet" and size == 8:
        size = 16
    if name == "resnet18" and size == 8:
        assert nets.build(name, size=size, channels=1).grid == 1
    encoder = nets.build(name, size=size, channels=1).eval()
    with torch.no_grad():
        maps = encoder.maps(images(1, 1, size))
    assert maps.shape[2:] == (encoder.grid, encoder.grid) == (-(-size // encoder.stride),) * 2


@pytest.mark.parametrize("name", LIGHT)
def test_images_of_another_size_pass(name):
    encoder = nets.build(name, size=32, channels=3).eval()
    with torch.no_grad():
        assert encoder.maps(images(1, 3, 21)).shape[2:] == (-(-21 // encoder.stride),) * 2


@pytest.mark.parametrize("name", LIGHT)
def test_every_parameter_gets_a_gradient(name):
    encoder = nets.build(name, size=32, channels=3)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)  # the last of a block starts at 0, which stops those before it
    target = torch.randn(4, encoder.dim)
    (encoder(images(4, 3, 32)) * target).sum().backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", LIGHT)
def test_bfloat16_autocast_changes_little(name):
    encoder = nets.build(name, size=32, channels=3).eval()
    x = images(4, 3, 32).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = encoder(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = encoder(x).float()
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_lenet_is_the_paper_s_network_of_digits():
    """Ganin et al., 2016, figure 4a: conv5-32, pool, conv5-48, pool, and 768 numbers for 28 pixels."""
    encoder = nets.build("lenet", size=28, channels=3)
    first, second = (module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    assert [tuple(module.weight.shape) for module in (first, second)] == [(32, 3, 5, 5), (48, 32, 5, 5)]
    x = encoder.normalize(images(2, 3, 28))
    for convolution in (first, second):
        x = nn.functional.max_pool2d(convolution(x).relu(), 2)
    assert x.shape == (2, 48, 4, 4)
    torch.testing.assert_close(encoder(images(2, 3, 28)), x.flatten(1))


def test_lenet_refuses_parts_that_are_too_small():
    with pytest.raises(
        UsageError, match=r"crops of images, of 16 pixels or more, not of 9\. Use larger ones, or another"
    ):
        nets.build("lenet", size=28, channels=1)(images(1, 1, 9))


def test_the_halves_of_a_split_network_share_nothing():
    """A change of colour alone keeps the first half of the features, a change of lightness alone the second."""
    encoder = nets.build("split-convnet", size=32, channels=3).eval()
    lab = torch.tensor([[50.0, 40.0, 20.0], [50.0, -30.0, 10.0], [60.0, 40.0, 20.0]]).view(3, 3, 1, 1)
    with torch.no_grad():
        plain, recolored, lighter = encoder(views.lab_to_rgb(lab).expand(-1, -1, 32, 32))
    same = [torch.allclose(plain[half], other[half], atol=1e-3) for other in (recolored, lighter) for half in HALVES]
    assert same == [True, False, False, True]
    with pytest.raises(UsageError, match="split-convnet, and every method that uses it, needs colour images"):
        nets.build("split-convnet", size=32, channels=1)


@pytest.mark.parametrize(
    ("name", "published"), [("resnet18", 11_689_512 - 513_000), ("resnet50", 25_557_032 - 2_049_000)]
)
def test_resnets_have_the_published_number_of_parameters(name, published):
    encoder = nets.build(name, size=224, channels=3)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == published


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "basic"), ("resnet50", "bottleneck")])
def test_resnets_compute_what_those_of_transformers_do(name, layer):
    transformers = pytest.importorskip("transformers")
    ours = nets.build(name, size=64, channels=3).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    depths, widths = ([2, 2, 2, 2], [64, 128, 256, 512]) if layer == "basic" else ([3, 4, 6, 3], [256, 512, 1024, 2048])
    config = transformers.ResNetConfig(depths=depths, hidden_sizes=widths, layer_type=layer)
    theirs = transformers.ResNetModel(config).eval()
    # Theirs lists a block's shortcut before its convolutions; all else is in the same order.
    blocks = [ours.stem, *ours.blocks]
    parts = [part for block in blocks for part in ([block] if block is ours.stem else [block.shortcut, block.residual])]
    values = [value for part in parts for value in part.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    x = images(2, 3, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs(x).last_hidden_state, rtol=1e-3, atol=1e-3)


def test_a_block_of_a_vit_is_a_pre_norm_transformer_layer():
    block = Block(12, heads=3)
    layer = nn.TransformerEncoderLayer(12, 3, 48, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    pairs = [
        (layer.self_attn.in_proj_weight, block.attend.weight), (layer.self_attn.in_proj_bias, block.attend.bias),
        (layer.self_attn.out_proj.weight, block.project.weight), (layer.self_attn.out_proj.bias, block.project.bias),
        (layer.linear1.weight, block.perceptron[0].weight), (layer.linear1.bias, block.perceptron[0].bias),
        (layer.linear2.weight, block.perceptron[2].weight), (layer.linear2.bias, block.perceptron[2].bias),
    ]  # fmt: skip
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(torch.randn_like(theirs) / 4)
            ours.copy_(theirs)
    tokens = torch.randn(2, 5, 12)
    torch.testing.assert_close(block(tokens), layer(tokens))


def test_positions_are_sines_and_cosines_of_row_and_column():
    found = nets.positions(3, 5, 8)
    for row in range(3):
        for column in range(5):
            waves = [
                wave(place / 10000 ** (k / 2)) for place in (row, column) for wave in (np.sin, np.cos) for k in range(2)
            ]
            np.testing.assert_allclose(found[row * 5 + column], waves, atol=1e-6)


def test_tokens_are_rows_of_patches():
    """A token depends on its own patch only, and a ViT is its transformer on all of them."""
    encoder = nets.build("vit-tiny", size=32, channels=1).eval()
    x = images(1, 1, 32)
    changed = x.clone()
    changed[:, :, 8:12, 20:24] = 0  # row 2, column 5 of 8 x 8
    with torch.no_grad():
        before, after = encoder.tokens(x), encoder.tokens(changed)
        assert (before != after).any(2)[0].nonzero().flatten().tolist() == [2 * 8 + 5]
        torch.testing.assert_close(encoder.transformer(before).mean(1), encoder(x))


@pytest.mark.parametrize(
    ("size", "patch"), [(8, 1), (28, 2), (32, 4), (48, 6), (64, 8), (76, 4), (96, 12), (128, 16), (224, 16), (448, 16)]
)
def test_patches_follow_the_size(size, patch):
    assert patch_size(size) == patch


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("resnet81", 32, "There is no encoder 'resnet81': did you mean resnet18"),
        ("lenet", 15, "lenet takes images, and crops of images, of 16 pixels or more, not of 15. Use larger ones, or"),
        ("resnet18", 4, "Images of 4 pixels are too small for resnet18. Use 8 or more."),
        ("vit-tiny", 7, "Images of 7 pixels are too small for a ViT. Use 8 or more."),
        ("vit-tiny", 97, "cannot be cut into 8 to 32 patches per side. Use a size of 96 or 98."),
        ("vit-tiny", 514, "cannot be cut into 8 to 32 patches per side. Use a size of 512."),
    ],
)
def test_what_cannot_be_built_is_said(name, size, sentence):
    with pytest.raises(UsageError, match=sentence.replace("(", r"\(")):
        nets.build(name, size=size, channels=3)


def test_own_encoders_have_no_pretrained_weights():
    with pytest.raises(UsageError, match="convnet has no pretrained weights"):
        nets.build("convnet", size=32, channels=3, pretrained=True)


@pytest.mark.parametrize("name", [*LIGHT, "split-convnet"])
def test_onnx_gives_the_same_features_for_any_batch(name, tmp_path):
    check_onnx(nets.build(name, size=32, channels=3).eval(), tmp_path / "encoder.onnx")


@pytest.mark.parametrize("name", nets.names())
def test_the_stages_hold_every_weight_once(name):
    """Stages are ordered from input to output, so that a share of them can be frozen from the input."""
    known = {"size": 32, "channels": 3, "rate": 4000, "tokens": 16, "tokenizer": tokenizer("words")}
    encoder = nets.build(name, **{field: known[field] for field in nets.takes(name)})
    parts = [part for stage in encoder.stages() for part in stage]
    held = [
        parameter
        for part in parts
        for parameter in ([part] if isinstance(part, torch.nn.Parameter) else part.parameters())
    ]
    assert len(held) == len(set(map(id, held)))
    assert set(map(id, held)) == set(map(id, encoder.parameters()))
    assert len(encoder.stages()) >= 2 or name == "word-vectors"
