"""Networks of other libraries as encoders: small ones, without a network connection."""

import gc
import json
import math
import sys
import types
import weakref

import pytest
import torch
from torch import nn

from tests.nets.toys import check_onnx, images
from withhold import nets
from withhold.errors import UsageError
from withhold.methods import build
from withhold.methods.transfer.finetune import Finetune
from withhold.nets import registry
from withhold.nets.adapters import Adapter


class Mean(nn.Module):
    """A user's module: features [n, dim] from the channels' means."""

    def __init__(self, dim=5, says=5):
        super().__init__()
        self.dim, self.layer = says, nn.Linear(3, dim)

    def forward(self, x):
        return self.layer(x.mean((2, 3)))


def save(folder, config, model_class, mean=None):
    """A small model in `folder`, as Transformers would have downloaded it."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    model.save_pretrained(folder)
    if mean:
        (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": [0.2, 0.3, 0.4]}))
    return model


def vit_config(transformers, **options):
    return transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        **options,
    )


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


def test_a_module_with_a_dim_is_an_encoder():
    module = Mean()
    encoder = nets.build(module, size=16, channels=3)
    x = images(4, 3, 16)
    assert isinstance(encoder, nets.Encoder)
    assert (encoder.dim, encoder.grid, encoder.stride) == (5, 1, 16)
    torch.testing.assert_close(encoder(x), module((x - 0.5) / 0.25))


def test_a_module_that_gives_maps_is_an_encoder():
    module = nn.Conv2d(1, 6, 4, stride=4)
    module.dim = 6
    encoder = nets.build(module, size=18, channels=1)
    assert (encoder.dim, encoder.grid, encoder.stride) == (6, 4, 5)
    assert encoder.maps(images(2, 3, 18)).shape == (2, 6, 4, 4)


@pytest.mark.parametrize(("channels", "mean"), [(3, [0.1, 0.2, 0.6]), (1, [0.3])])
def test_a_hole_is_what_the_network_sees_as_zero_or_for_lightness_the_grey_between(channels, mean):
    encoder = Adapter(Mean(), 16, channels, inputs=3, mean=[0.1, 0.2, 0.6], std=[0.2, 0.3, 0.4])
    x, holes = images(2, channels, 16), images(2, 1, 16) > 0.5
    blanked = encoder.blank(x, holes)
    assert blanked.shape == x.shape
    for i in range(channels):
        torch.testing.assert_close(blanked[:, i], torch.where(holes[:, 0], mean[i], x[:, i]))


def test_what_a_decoder_says_is_denormalised():
    encoder = Adapter(Mean(), 16, channels=3, inputs=3, mean=[0.1, 0.2, 0.6], std=[0.2, 0.3, 0.4])
    x = images(2, 3, 16)
    torch.testing.assert_close(encoder.denormalize(encoder.normalize(x)), x)


def test_an_encoder_stays_itself():
    encoder = nets.build("convnet", size=32, channels=3)
    assert nets.build(encoder, size=32, channels=3) is encoder


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Linear(3, 3), "Linear is not an encoder: it has no `dim`"),
        (Mean(dim=5, says=6), "has dim=6, but returns 5"),
    ],
)
def test_a_module_that_is_none_is_told_so(module, sentence):
    with pytest.raises(UsageError, match=sentence):
        nets.build(module, size=16, channels=3)


def test_a_pretrained_vit_gives_its_patches_after_its_own_normalisation(transformers, tmp_path):
    theirs = save(tmp_path, vit_config(transformers), transformers.ViTModel, mean=[0.1, 0.2, 0.3])
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval()
    x = images(2, 3, 32)
    scaled = (x - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    with torch.no_grad():
        tokens = theirs(scaled).last_hidden_state
        maps = encoder.maps(x)
    assert (encoder.dim, encoder.grid, encoder.stride) == (16, 4, 8)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(maps[:, :, row, column], tokens[:, 1 + 4 * row + column])


def test_a_pretrained_vit_takes_other_sizes_and_lightness(transformers, tmp_path):
    save(tmp_path, vit_config(transformers), transformers.ViTModel)
    encoder = nets.build(f"hf:{tmp_path}", size=48, channels=1, pretrained=True).eval()
    assert (encoder.channels, encoder.grid) == (1, 6)
    with torch.no_grad():
        lightness, colour = encoder(images(2, 1, 48)), encoder(images(2, 1, 48).expand(-1, 3, -1, -1))
    assert lightness.shape == (2, 16)
    assert lightness.isfinite().all()
    assert colour.shape == lightness.shape


def test_an_untrained_vit_is_built_for_the_images(transformers, tmp_path):
    save(tmp_path, vit_config(transformers), transformers.ViTModel)
    encoder = nets.build(f"hf:{tmp_path}", size=24, channels=1)
    assert encoder.maps(images(2, 1, 24)).shape == (2, 16, 3, 3)
    encoder(images(2, 1, 24)).sum().backward()
    first, second = (nets.build(f"hf:{tmp_path}", size=24, channels=1) for _ in range(2))
    assert any((a != b).any() for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_masked_autoencoder_sees_all_patches_in_order(transformers, tmp_path):
    about = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTMAEConfig(image_size=32, patch_size=8, **about)
    theirs = save(tmp_path, config, transformers.ViTMAEModel)
    encoder, x = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval(), images(2, 3, 32)
    with torch.no_grad():
        found = encoder.maps(x)
        assert found.shape == (2, 16, 4, 4) and torch.equal(found, encoder.maps(x))
        tokens, _, order = theirs.embeddings((x - 0.5) / 0.25)  # random patches in random order
        kept = order.argsort(1)[:, : tokens.shape[1] - 1]
        embedded = encoder.network.model.embeddings((x - 0.5) / 0.25, noise=torch.arange(16).expand(2, 16))[0]
        torch.testing.assert_close(tokens[:, 1:], embedded[:, 1:].gather(1, kept[:, :, None].expand(-1, -1, 16)))


def test_visual_tokens_make_no_language_model(transformers, tmp_path):
    about = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    save(tmp_path, transformers.BeitConfig(image_size=32, patch_size=8, **about), transformers.BeitModel)
    assert nets.takes(f"hf:{tmp_path}") == ("size", "channels")
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True)
    assert encoder.maps(images(2, 3, 32)).shape == (2, 16, 4, 4)


def test_weights_saved_in_half_precision_are_computed_with_in_float32(transformers, tmp_path):
    transformers.ViTModel(vit_config(transformers)).bfloat16().save_pretrained(tmp_path)
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True)
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}
    encoder(images(2, 3, 32)).sum().backward()


def test_registers_are_left_out(transformers, tmp_path):
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8, num_register_tokens=4
    )
    theirs = save(tmp_path, config, transformers.Dinov2WithRegistersModel)
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval()
    x = images(2, 3, 32)
    with torch.no_grad():
        tokens = theirs((x - 0.5) / 0.25).last_hidden_state
        torch.testing.assert_close(encoder.maps(x).flatten(2).transpose(1, 2), tokens[:, 5:])


@pytest.mark.parametrize("kind", ["ResNet", "Swin", "ConvNext"])
def test_convolutional_and_merging_models_give_maps(transformers, tmp_path, kind):
    options = {
        "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
        "Swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 2, "image_size": 32},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(**options)
    theirs = save(tmp_path, config, getattr(transformers, f"{kind}Model"))
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval()
    x = images(2, 3, 32)
    with torch.no_grad():
        expected = theirs((x - 0.5) / 0.25).last_hidden_state
        if expected.ndim == 3:
            expected = expected.transpose(1, 2).unflatten(2, (math.isqrt(expected.shape[1]),) * 2)
        torch.testing.assert_close(encoder.maps(x), expected)
    assert (encoder.dim, encoder.grid) == expected.shape[1:3]
    assert encoder.stride == 32 // expected.shape[2]


def test_of_a_model_that_also_reads_the_part_that_sees_is_taken(transformers, tmp_path):
    text = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 10,
    }
    seeing = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "image_size": 32,
    }
    config = transformers.CLIPConfig(
        text_config=text | {"bos_token_id": 0, "eos_token_id": 1}, vision_config=seeing | {"patch_size": 8}
    )
    save(tmp_path, config, transformers.CLIPModel)
    for pretrained in (True, False):
        encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=pretrained).eval()
        assert encoder.maps(images(2, 3, 32)).shape == (2, 16, 4, 4)


def test_a_wrong_name_or_size_is_said(transformers, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"Transformers has no model hf:.*nothing"):
        nets.build(f"hf:{tmp_path}/nothing", size=32, channels=3)
    save(tmp_path, vit_config(transformers), transformers.ViTModel)
    with pytest.raises(UsageError, match="cannot take images of 4 pixels"):
        nets.build(f"hf:{tmp_path}", size=4, channels=3, pretrained=True)


def test_onnx_of_an_adapter(transformers, tmp_path):
    save(tmp_path, vit_config(transformers), transformers.ViTModel)
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval()
    check_onnx(encoder, tmp_path / "encoder.onnx")


def test_timm_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"timm:vit_tiny needs timm, .* pip install 'withhold\[timm\]'"):
        nets.build("timm:vit_tiny", size=32, channels=3)


def test_models_of_timm_by_its_interface(monkeypatch):
    """A stand-in for timm, which is not a dependency, with the part of its interface that is used."""

    class Tokens(nn.Module):
        num_prefix_tokens = 1
        pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.2, 0.2, 0.2)}

        def __init__(self, in_chans):
            super().__init__()
            self.embed = nn.Conv2d(in_chans, 6, 8, 8)

        def forward_features(self, x):
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return torch.cat([torch.full_like(tokens[:, :1], 1e6), tokens], dim=1)

    class Maps(nn.Module):
        output_fmt = "NHWC"

        def forward_features(self, x):
            return x[:, :, ::4, ::4].permute(0, 2, 3, 1)

    class Mixer(Tokens):
        num_prefix_tokens = property()  # it has none, and no such attribute

        def forward_features(self, x):
            return self.embed(x).flatten(2).transpose(1, 2)

    class Pyramid(Maps):
        def forward_features(self, x):
            return [x, x]

    def create_model(name, pretrained, num_classes, in_chans, **options):
        if name in ("mixer", "pyramid"):
            return Mixer(in_chans) if name == "mixer" else Pyramid()
        if name == "maps":
            if options:
                raise TypeError("unexpected keyword argument 'img_size'")
            return Maps()
        return Tokens(in_chans)

    stand_in = types.SimpleNamespace(create_model=create_model, is_model=lambda name: name != "token")
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    tokens = nets.build("timm:tokens", size=32, channels=1, pretrained=True)
    assert tokens.maps(images(2, 1, 32)).shape == (2, 6, 4, 4)
    assert tokens.maps(images(2, 1, 32)).abs().max() < 1e3
    torch.testing.assert_close(tokens.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    assert nets.build("timm:tokens", size=32, channels=1).network.model.embed.in_channels == 1
    assert nets.build("timm:maps", size=32, channels=3).maps(images(2, 3, 32)).shape == (2, 3, 8, 8)
    assert nets.build("timm:mixer", size=32, channels=3).maps(images(2, 3, 32)).shape == (2, 6, 4, 4)
    with pytest.raises(UsageError, match=r"This Pyramid of timm has several outputs\. Use another model"):
        nets.build("timm:pyramid", size=32, channels=3)
    with pytest.raises(UsageError, match="timm has no model 'token'"):
        nets.build("timm:token", size=32, channels=3)


@pytest.fixture
def bert(transformers, tmp_path):
    """A tiny language model in a folder, with its tokenizer; and the token ids of a text."""
    from withhold.data.tables import Lines
    from withhold.data.texts import train_tokenizer

    folder = tmp_path / "tiny-bert"
    tokenizer = train_tokenizer(Lines(["the ship sails the sea"] * 5), "words", "the texts")
    size = tokenizer.get_vocab_size()
    config = transformers.BertConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=12,
    )  # fmt: skip
    save(folder, config, transformers.BertModel)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_language_model_is_an_encoder_of_texts(transformers, bert):
    name = f"hf:{bert}"
    assert nets.takes(name) == ("tokenizer", "tokens")
    encoder = nets.build(name, tokenizer=str(bert / "tokenizer.json"), tokens=8, pretrained=True).eval()
    assert (encoder.kind, encoder.dim, len(encoder.stages())) == ("text", 16, 3)
    tokens = torch.zeros(2, 8, dtype=torch.int32)
    tokens[0, :5] = encoder.cut("the ship sails the sea")[0]
    tokens[1, :2] = encoder.cut("the sea")[0]
    theirs = transformers.BertModel.from_pretrained(bert).eval()
    with torch.no_grad():
        found = encoder(tokens)
        for row, length in ((0, 5), (1, 2)):
            alone = theirs(tokens[row : row + 1, :length].long()).last_hidden_state[0].mean(0)
            torch.testing.assert_close(found[row], alone)
    assert encoder.cut("the sea " * 10).shape == (3, 8)  # windows as a training has them
    fresh = nets.build(name, tokenizer=str(bert / "tokenizer.json"), tokens=8)
    assert not torch.equal(fresh.model.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight)


def test_a_language_model_reads_no_more_than_it_knows(bert, tmp_path):
    from withhold.data.tables import Lines
    from withhold.data.texts import train_tokenizer

    with pytest.raises(UsageError, match=r"reads at most 12 tokens at once, not 13\. Give tokens=12"):
        nets.build(f"hf:{bert}", tokenizer=str(bert / "tokenizer.json"), tokens=13)
    other = str(tmp_path / "other.json")
    train_tokenizer(Lines(["one two three four five six seven"] * 5), "words", "the texts").save(other)
    with pytest.raises(UsageError, match=r"has 9 tokens, but the tokenizer has 12\. Leave tokenizer"):
        nets.build(f"hf:{bert}", tokenizer=other, tokens=8)


@pytest.mark.parametrize("weights", [True, False])
def test_what_fits_pretrained_weights_can_be_built_without_them(transformers, tmp_path, weights):
    theirs = save(tmp_path, vit_config(transformers), transformers.ViTModel)
    encoder = nets.build(f"hf:{tmp_path}", size=48, channels=1, pretrained=True, weights=weights)
    state = {name.removeprefix("network.model."): value for name, value in encoder.state_dict().items()}
    known = {name: value for name, value in theirs.state_dict().items() if "pooler" not in name}
    assert state.keys() - {"network.mean"} >= known.keys()
    assert all(state[name].shape == value.shape for name, value in known.items())
    assert all(torch.equal(state[name], value) for name, value in known.items()) == weights


def test_a_head_that_nothing_asks_is_no_stage_and_has_no_gradient_to_wait_for(transformers, tmp_path):
    save(tmp_path, vit_config(transformers), transformers.ViTModel)
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True)
    encoder(images(2, 3, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert [type(stage[0]).__name__ for stage in encoder.stages()] == [
        "ViTEmbeddings", "ViTLayer", "ViTLayer", "LayerNorm"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"do_normalize": False}, lambda x: x),
        ({"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5] * 3, "rescale_factor": 1 / 127.5},
         lambda x: (2 * x - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / 0.5),
        ({"do_normalize": False, "do_rescale": False}, lambda x: 255 * x),
        ({"do_normalize": False, "do_flip_channel_order": True}, lambda x: x.flip(1)),
    ],
)  # fmt: skip
def test_images_come_to_a_model_as_its_processor_says(transformers, tmp_path, said, expected):
    theirs = save(tmp_path, vit_config(transformers), transformers.ViTModel)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval()
    x = images(2, 3, 32)
    with torch.no_grad():
        tokens = theirs(expected(x)).last_hidden_state[:, 1:]
        torch.testing.assert_close(encoder.maps(x).flatten(2).transpose(1, 2), tokens, atol=1e-4, rtol=1e-4)


class Own(nn.Module):
    """A stem with a parameter of its own, dropout and normalisation, blocks one layer deeper, and a last layer."""

    dim = 8

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3, 1, 1))
        self.stem, self.norm, self.drop = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Dropout(0.5)
        parts = [nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU()]
        self.body = nn.ModuleDict({"blocks": nn.Sequential(*parts)})
        self.last, self.pool = nn.Conv2d(8, 8, 1), nn.Identity()

    def forward(self, x):
        return self.pool(self.last(self.body["blocks"](self.drop(self.norm(self.stem(x + self.shift))))))


def test_stages_of_somebodys_own_module_are_modules_from_input_to_output():
    encoder = nets.build(Own(), size=16, channels=3)
    network, blocks = encoder.network, encoder.network.body["blocks"]
    expected = [
        [network.shift, network.stem, network.norm, network.drop],
        [blocks[0], blocks[1], blocks[2]],
        [blocks[3], blocks[4], blocks[5]],
        [network.last, network.pool],
    ]
    found = encoder.stages()
    assert [[id(part) for part in stage] for stage in found] == [[id(part) for part in stage] for stage in expected]
    assert len(nets.build(Mean(), size=16, channels=3).stages()) == 1


def test_frozen_stages_of_somebodys_own_module_do_not_move():
    method = build(Finetune, nets.build(Own(), size=16, channels=3), {"freeze": "1"}, {"classes": ("a", "b")}).train()
    network = method.encoder.network
    before = network.norm.running_mean.clone()
    torch.testing.assert_close(method.classify(images(4, 3, 16)), method.classify(images(4, 3, 16)))  # no dropout
    assert torch.equal(network.norm.running_mean, before)
    assert not any(parameter.requires_grad for parameter in (network.shift, *network.stem.parameters()))
    assert all(parameter.requires_grad for parameter in network.body.parameters())


def test_the_size_that_weights_were_trained_on_is_the_processors_or_the_configurations(transformers, tmp_path):
    save(tmp_path, vit_config(transformers), transformers.ViTModel)
    assert nets.pretrained_size(f"hf:{tmp_path}") == 32
    for said in ({"size": {"height": 40, "width": 40}}, {"size": {"shortest_edge": 48}, "crop_size": 40}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
        assert nets.pretrained_size(f"hf:{tmp_path}") == 40
    assert (nets.pretrained_size("efficientnet-lite0"), nets.pretrained_size("convnet")) == (224, 0)


def test_two_modules_of_one_class_are_two_encoders():
    first, second = (torch.nn.Sequential(torch.nn.Conv2d(3, dim, 4, stride=4)) for dim in (8, 16))
    first.dim, second.dim = 8, 16
    names = [registry.lend(module) for module in (first, second, first)]
    assert names[0] == names[2] != names[1] and registry.plain(names[1]) == "module:Sequential"
    assert [nets.build(name, size=16, channels=3).dim for name in names] == [8, 16, 8]
    gone = weakref.ref(second)
    del second
    gc.collect()
    assert gone() is None
    with pytest.raises(UsageError, match=r"The encoder is a module of class Sequential\. Pass that module"):
        nets.build(names[1], size=16, channels=3)


def test_random_weights_of_somebodys_own_module_are_none_of_its_own():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Flatten(2), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    module.dim = 4
    module.positions = nn.Parameter(5 + torch.randn(100))
    module.fixed = nn.Parameter(torch.randn(100), requires_grad=False)
    random = dict(nets.build(registry.lend(module), size=16, channels=3).network.named_parameters())
    for name, weight in module.named_parameters():
        if len(weight.unique()) > 1:
            assert torch.equal(weight, random[name]) == (name == "fixed"), name
    assert random["positions"].mean().item() == pytest.approx(5, abs=0.5)


class Tokens(nn.Module):
    """So many tokens of four channels, whatever the image."""

    dim = 4

    def __init__(self, count=16):
        super().__init__()
        self.count, self.layer = count, nn.LazyLinear(4)

    def forward(self, x):
        return self.layer(x.flatten(1)[:, :1, None].expand(-1, self.count, 1))


def test_tokens_without_a_known_patch_fill_the_image():
    for count, (h, w), grid in (
        (16, (32, 32), (4, 4)), (21, (32, 32), (4, 4)), (1, (32, 160), (1, 1)), (1, (160, 32), (1, 1)),
        (4, (32, 640), (1, 4)), (128, (32, 64), (8, 16)), (129, (64, 32), (16, 8)),
    ):  # fmt: skip
        encoder = nets.build(registry.lend(module := Tokens(count)), size=32, channels=3)
        assert encoder.maps(images(1, 3, 32)[:, :, :1, :1].expand(1, 3, h, w)).shape == (1, 4, *grid), (count, h, w)
        del module


def test_a_merging_model_keeps_the_order_of_places_in_wide_images(transformers, tmp_path):
    config = transformers.SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2, image_size=32)
    theirs = save(tmp_path, config, transformers.SwinModel)
    encoder = nets.build(f"hf:{tmp_path}", size=32, channels=3, pretrained=True).eval()
    x = images(2, 3, 64)[:, :, :32]
    with torch.no_grad():
        tokens = theirs((x - 0.5) / 0.25).last_hidden_state
        assert torch.allclose(encoder.maps(x), tokens.mT.unflatten(2, (4, 8)), atol=1e-5)


def test_a_network_for_one_size_is_told_apart_from_one_that_fails():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8))
    flat.dim = 8
    encoder = nets.build(flat, size=16, channels=3)
    with pytest.raises(UsageError, match=r"Sequential takes images of 16 pixels only .* shows it images of 8 x 8"):
        encoder(torch.rand(2, 3, 8, 8))
