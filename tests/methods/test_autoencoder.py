"""The autoencoder: the bottleneck is its only constraint."""

import pytest
import torch

from tests.methods.toys import batch, overfit
from withhold import data, evaluation, losses, nets
from withhold.methods import build, find
from withhold.training import Plan, fit


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("autoencoder"), nets.build("convnet", size=size, channels=channels), values)


def test_trivial_is_the_error_of_the_best_constant_image(photos):
    method = make()
    _, withheld = method.hide(batch(photos))
    constant = torch.stack(list(withheld)).mean(0).requires_grad_()
    terms = method.loss(constant.expand_as(withheld), withheld)
    terms["loss"].backward()
    assert constant.grad.abs().max() < 1e-6, "the loss is convex in the answer, and flat at its least"
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-4)


def test_a_perfect_memory_costs_nothing(photos):
    seen, withheld = make().hide(batch(photos))
    terms = make().loss(seen, withheld)
    assert terms["loss"].item() == 0
    assert terms["psnr"].item() == pytest.approx(100)


def test_nothing_but_the_code_reaches_the_decoder(photos):
    """Images whose codes agree are decoded alike, whatever else the feature map holds."""
    method = make(code=3).eval()
    seen, _ = method.hide(batch(photos, 4))
    codes = method.code(method.encoder(seen))
    assert codes.shape == (4, 3)
    assert torch.allclose(method.predict(seen), method.decoder(codes) * 0.25 + 0.5, atol=1e-5)


def test_a_few_images_are_learned_by_heart(photos):
    method = make()
    method.withhold = lambda images: (images / 255, images / 255)
    terms = overfit(method, **batch(photos, 4), seeds=range(40))[-1]
    assert terms["loss"] < 0.5 * terms["trivial"]


def test_it_gives_back_what_its_code_holds(photos):
    method = make().eval()
    shown = method.apply_to(torch.from_numpy(photos[0]).permute(2, 0, 1))
    assert shown["reconstructed"].pixels.shape == shown["seen"].pixels.shape == (3, 32, 32)


def test_the_worse_an_image_is_remembered_the_stranger_it_is(photos):
    method = make().eval()
    images = batch(photos, 3)["images"] / 255
    with torch.no_grad():
        expected = [losses.squared_error(method.predict(image[None]), image[None]).item() for image in images]
        assert method.says()["anomaly"](images).tolist() == pytest.approx(expected, rel=1e-4)


def test_when_training_ends_the_decoder_has_the_statistics_of_plain_images():
    """Those of its training are of views: with them, what the decoder gives back of plain images is worse."""
    digits, method = data.load("digits", size=32).select(range(400)), make(channels=1)
    fit(method, data.Feeder({"images": digits}, method.needs, 64, 0), Plan(steps=40))
    plain = digits.batch(range(400)) / 255
    nets.refresh_statistics(method.eval().encoder, [plain])

    def error():
        with torch.no_grad():
            return losses.squared_error(method.predict(plain), plain).item()

    saved = error()
    method.finish(lambda: evaluation.plain_batches([digits], "cpu"))
    assert error() < 0.85 * saved


def test_a_code_of_no_length_is_refused():
    with pytest.raises(ValueError, match="code must be at least 1, not 0"):
        find("autoencoder")(nets.build("convnet", size=32, channels=3), code=0)
