import math

import numpy as np
import pytest
import torch

from tests.methods.toys import overfit, random_images
from withhold import nets
from withhold.errors import UsageError
from withhold.methods import build, find
from withhold.pictures import PALETTE, painted

NAMES = ("ground", "thing", "sky")


def make(encoder="convnet", size=32, channels=3, classes=NAMES, **values):
    torch.manual_seed(0)
    return build(find("segmentation"), nets.build(encoder, size=size, channels=channels), values, {"classes": classes})


def scenes(n=16, size=32):
    """Bright sky over dark ground, with a red square between; their masks [n, size, size], unknown along the border."""
    images, masks = random_images(n, size=size) // 8, torch.zeros(n, size, size, dtype=torch.uint8)
    rng = torch.Generator().manual_seed(0)
    for image, mask in zip(images, masks, strict=True):
        horizon, left = torch.randint(size // 4, size // 2, (2,), generator=rng).tolist()
        image[:, :horizon] += 180
        mask[:horizon] = 2
        image[0, horizon : horizon + 10, left : left + 10] += 200
        mask[horizon : horizon + 10, left : left + 10] = 1
        mask[horizon] = 255
    return images, masks


def test_the_loss_is_the_mean_over_the_pixels_whose_class_is_known():
    scores, masks = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4)).byte()
    masks[0, :2] = 255
    cost, right, counts = 0.0, 0, [0, 0, 0]
    for n, row, column in np.ndindex(2, 4, 4):
        if (label := int(masks[n, row, column])) != 255:
            shares = scores[n, :, row, column].exp() / scores[n, :, row, column].exp().sum()
            cost -= math.log(shares[label])
            right += int(shares.argmax()) == label
            counts[label] += 1
    known = sum(counts)
    terms = make().loss(scores, masks)
    assert known == 24
    assert terms["loss"].item() == pytest.approx(cost / known, rel=1e-5)
    assert terms["accuracy"].item() == pytest.approx(right / known)
    entropy = -sum(count / known * math.log(count / known) for count in counts if count)
    assert terms["trivial"].item() == pytest.approx(entropy, rel=1e-5)


def test_masks_that_know_nothing_teach_nothing():
    scores = torch.randn(2, 3, 4, 4, requires_grad=True)
    terms = make().loss(scores, torch.full((2, 4, 4), 255))
    terms["loss"].backward()
    assert terms["loss"].item() == 0
    assert not scores.grad.any()


def test_masks_follow_the_views_of_their_images():
    """Where the colour says the class, it still does in every view."""
    masks = torch.randint(0, 2, (32, 4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2).byte()
    images = (masks * 200)[:, None].expand(-1, 3, -1, -1)
    seen, cut = make().hide({"images": (images, masks)})
    assert cut.shape == (32, 32, 32)
    said = seen.mean(1) > seen.mean((1, 2, 3))[:, None, None]
    both = cut.float().var((1, 2)) > 0
    assert (said == cut.bool())[both].float().mean() > 0.9
    assert not torch.equal(cut, masks)


def test_it_learns_scenes_and_gives_masks_and_overlays_of_any_shape():
    method, (images, masks) = make(), scenes(8)
    history = overfit(method, {"images": (images, masks)}, range(40), lr=5e-3)
    assert history[-1]["loss"] < 0.5 * history[-1]["trivial"]
    method.eval()
    wide = torch.cat([images[0], images[1]], 2)
    truth = torch.cat([masks[0], masks[1]], 1)
    for scale in (1, 3):  # pixels of a file for each that it sees
        large = wide.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        with torch.no_grad():
            found = method.apply_to(large)
        labels = found["mask"].labels[::scale, ::scale]
        known = truth != 255
        assert (labels == truth)[known].float().mean() > 0.85
        assert found["overlay"].pixels.shape == large.shape
    red, green, blue = found["mask"].palette[3:6]
    assert (red, green, blue) == (128, 0, 0)
    expected = (large.float() / 255 + painted(found["mask"].labels[None])[0]) / 2
    assert torch.allclose(found["overlay"].pixels, expected, atol=1e-5)


def test_the_palette_is_that_of_pascal_voc():
    """As its development kit makes it, bit by bit."""
    for number in range(256):
        colour, rest = [0, 0, 0], number
        for place in range(8):
            for part in range(3):
                colour[part] |= (rest >> part & 1) << (7 - place)
            rest >>= 3
        assert PALETTE[number].tolist() == colour


@pytest.mark.parametrize(
    ("encoder", "cells"), [("convnet", [8, 4]), ("vit-tiny", [8]), ("efficientnet-lite0", [8, 4, 2, 1])]
)
def test_the_head_sees_the_last_map_of_each_resolution(encoder, cells):
    method = make(encoder)
    images = torch.rand(2, 3, 32, 32)
    method.eval()
    maps = nets.stage_maps(method.encoder, images)
    assert [part.shape[2] for part in maps] == cells
    assert torch.equal(maps[-1], method.encoder.maps(images))
    if encoder == "convnet":
        assert torch.equal(maps[0], method.encoder.blocks[:7](method.encoder.normalize(images)))
    assert method.predict(images).shape == (2, 3, 32, 32)
    assert not any(part._forward_hooks for part in method.encoder.modules())


def test_what_is_frozen_stays_as_it_is():
    images = {"images": scenes()}
    for freeze, still in (("all", 4), (2, 2), (None, 0)):
        method = make(freeze=freeze)
        stages = [[part for part in stage if isinstance(part, torch.nn.Module)] for stage in method.encoder.stages()]
        before = [[{k: v.clone() for k, v in part.state_dict().items()} for part in stage] for stage in stages]
        method.train()
        overfit(method, images, range(2))
        same = [
            all(
                torch.equal(v, old[k])
                for part, old in zip(stage, held, strict=True)
                for k, v in part.state_dict().items()
            )
            for stage, held in zip(stages, before, strict=True)
        ]
        assert same == [True] * still + [False] * (4 - still)
    with pytest.raises(UsageError, match=r"segmentation: the encoder has 4 stages, not 5\. Freeze fewer, or all"):
        make(freeze=5)


def test_one_class_is_refused():
    with pytest.raises(UsageError, match="needs labels of two or more classes"):
        make(classes=("ground",))
