import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from withhold import views
from withhold.views.chains import OPERATIONS, _operate


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def apply(name, images, sign, strength):
    n = len(images)
    chosen = torch.full((n,), OPERATIONS.index(name))
    return _operate(views.to_float(images), chosen, torch.full((n,), float(sign)), strength)


def with_pillow(images, change):
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    return torch.stack([torch.from_numpy(np.array(change(p))).permute(2, 0, 1) for p in pictures])


# Strength 0.3 is magnitude 9 of 30: factors 1 +- 0.27, 7 bits, threshold 178.5.
PILLOW = {
    ("brightness", 1): lambda p: ImageEnhance.Brightness(p).enhance(1.27),
    ("brightness", -1): lambda p: ImageEnhance.Brightness(p).enhance(0.73),
    ("saturation", 1): lambda p: ImageEnhance.Color(p).enhance(1.27),
    ("contrast", -1): lambda p: ImageEnhance.Contrast(p).enhance(0.73),
    ("sharpness", 1): lambda p: ImageEnhance.Sharpness(p).enhance(1.27),
    ("sharpness", -1): lambda p: ImageEnhance.Sharpness(p).enhance(0.73),
    ("posterize", 1): lambda p: ImageOps.posterize(p, 7),
    ("solarize", 1): lambda p: ImageOps.solarize(p, 179),
    ("autocontrast", 1): ImageOps.autocontrast,
    ("equalize", 1): ImageOps.equalize,
    ("identity", 1): lambda p: p,
    ("rotate", 1): lambda p: p.rotate(-9, Image.Resampling.BILINEAR),
    ("translate_x", 1): lambda p: shifted(p, (1, 0, -0.3 * 150 / 331 * 32, 0, 1, 0)),
    ("translate_y", -1): lambda p: shifted(p, (1, 0, 0, 0, 1, 0.3 * 150 / 331 * 32)),
    ("shear_x", 1): lambda p: shifted(p, (1, -0.09, 0.09 * 16, 0, 1, 0)),
    ("shear_y", -1): lambda p: shifted(p, (1, 0, 0, 0.09, 1, -0.09 * 16)),
}


def shifted(picture, coefficients):
    return picture.transform(picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)


@pytest.mark.parametrize(("name", "sign"), PILLOW)
def test_each_operation_is_pillows(photos, name, sign):
    images = torch.from_numpy(photos[:32]).permute(0, 3, 1, 2)
    levels = apply(name, images, sign, 0.3) * 255
    difference = (levels - with_pillow(images, PILLOW[name, sign]).float()).abs()
    if name in ("rotate", "translate_x", "translate_y", "shear_x", "shear_y"):
        difference = difference[:, :, 3:-3, 3:-3]  # Pillow leaves its border black, we fade it
        assert difference.median() <= 1
        assert difference.quantile(0.95) <= 2
    else:
        assert difference.max() <= 2.01  # Pillow rounds, and contrast rounds its mean as well


def test_every_operation_is_chosen_equally_often_for_single_images(photos, monkeypatch):
    seen = []
    monkeypatch.setattr("withhold.views.chains._operate", lambda images, chosen, *rest: seen.append(chosen) or images)
    views.rand_augment(torch.zeros(2000, 1, 4, 4), rng(), operations=3)
    counts = [torch.bincount(chosen, minlength=len(OPERATIONS)) for chosen in seen]
    assert len(counts) == 3
    assert all(stats.chisquare(count).pvalue > 1e-3 for count in counts)


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment_is_seeded_and_stays_in_range(photos, channels):
    images = torch.from_numpy(photos[:1]).permute(0, 3, 1, 2)[:, :channels].expand(40, -1, -1, -1)
    seen = views.rand_augment(images, rng(), magnitude=15)
    assert seen.shape == images.shape
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert torch.equal(seen, views.rand_augment(images, rng(), magnitude=15))
    assert len({view.numpy().tobytes() for view in seen}) > 30
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(seen, views.rand_augment(images, rng(), magnitude=15))


def test_distorted_views_are_blurred_from_64_pixels_on(photos):
    images = torch.from_numpy(photos[:100]).permute(0, 3, 1, 2)

    def details(size, blur):
        seen = views.distort(images, rng(), size=size, blur=blur)
        return (seen[:, :, 1:] - seen[:, :, :-1]).abs().mean((1, 2, 3))

    assert torch.equal(details(63, 1.0), details(63, 0.0))
    assert (details(64, 1.0) < details(64, 0.0)).float().mean() > 0.9


def test_only_the_second_views_of_an_asymmetric_pair_are_solarised():
    """Uniformly bright images stay bright, and become dark if they are solarised."""
    seen = views.asymmetric_pair(torch.full((2000, 1, 8, 8), 0.9), rng(), size=4, jitter=None)
    assert seen.shape == (4000, 1, 4, 4)
    dark = seen.mean((1, 2, 3)) < 0.5
    assert not dark[:2000].any()
    assert dark[2000:].float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_weak_views_are_mirrored_and_moved_but_not_scaled(photos):
    images = torch.from_numpy(photos[:1]).permute(0, 3, 1, 2).expand(100, -1, -1, -1)
    whole = views.to_float(images[:1])[0]
    for flip, mirrored in ((0.0, False), (1.0, True)):
        image = whole.flip(2) if mirrored else whole
        middle = views.weak(images, rng(), size=32, flip=flip)[:, :, 4:-4, 4:-4]
        places = {(top, left) for top in range(9) for left in range(9)}
        for view in middle:
            found = {p for p in places if (view - image[:, p[0] : p[0] + 24, p[1] : p[1] + 24]).abs().max() < 1e-5}
            assert len(found) == 1
    assert views.weak(images, rng(), size=16).shape == (100, 3, 16, 16)


def test_strong_views_are_changed_weak_ones_with_a_square_of_half_the_side_erased(photos):
    images = torch.from_numpy(photos[:64]).permute(0, 3, 1, 2)
    kept = views.strong(images, rng(), size=32, flip=0.0, magnitude=0.0)
    changed = views.strong(images, rng(), size=32, flip=0.0, magnitude=30.0)
    for seen in (kept, changed):
        erased = (seen == 0.5).all(1).float().unfold(1, 16, 1).unfold(2, 16, 1).mean((3, 4))
        assert seen.shape == (64, 3, 32, 32)
        assert (erased.amax((1, 2)) == 1).all()
    plain = views.weak(images, rng(), size=32, flip=0.0).mean((1, 2, 3))
    assert (kept.mean((1, 2, 3)) - plain).abs().mean() < (changed.mean((1, 2, 3)) - plain).abs().mean()


def test_a_strong_view_may_be_cut_out_alone_or_weak(photos):
    images = torch.from_numpy(photos[:16]).permute(0, 3, 1, 2)
    plain = views.weak(images, rng(), size=32, flip=0.5)
    cut, kept = (
        views.strong(images, rng(), size=32, flip=0.5, magnitude=30.0, kind=kind) for kind in ("cutout", "flip")
    )
    assert torch.equal(kept, plain)
    erased = (cut == 0.5).all(1)
    assert (erased.float().mean((1, 2)) - 0.25).abs().max() < 0.02
    assert torch.equal(cut.where(~erased[:, None], 0), plain.where(~erased[:, None], 0))
