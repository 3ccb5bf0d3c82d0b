"""Pictures of samples: sizes, order, colours, captions."""

import numpy as np
import pytest
import torch

from withhold import pictures
from withhold.errors import UsageError


@pytest.mark.parametrize(("length", "drawn"), [(28, 84), (32, 96), (64, 128), (96, 96), (224, 96), (8, 96)])
def test_a_tile_is_about_the_side_asked_for(length, drawn):
    assert pictures.tile(torch.rand(3, length, length), side=96).size == (drawn, drawn)


def test_a_tile_keeps_its_shape_and_its_pixels_are_squares():
    image = torch.rand(3, 4, 12)
    drawn = np.asarray(pictures.tile(image, side=96))
    assert drawn.shape == (32, 96, 3)
    expected = (image * 255).round().byte().permute(1, 2, 0).numpy().repeat(8, 0).repeat(8, 1)
    assert (drawn == expected).all()


def test_grey_is_grey_and_values_out_of_range_do_not_wrap():
    drawn = pictures.tile(torch.tensor([[[-0.5, 1.5], [float("nan"), 0.5]]]), side=2)
    assert drawn.mode == "L"
    assert np.asarray(drawn).tolist() == [[0, 255], [0, 128]]


def test_the_samples_are_spread_over_the_batch_and_what_was_true_comes_last():
    chosen = pictures.select(
        {"true": [str(i) for i in range(32)], "seen": torch.arange(32.0).reshape(32, 1, 1, 1)}, rows=4
    )
    assert list(chosen) == ["seen", "true"]
    assert chosen["true"] == ["0", "10", "21", "31"]
    assert chosen["seen"].flatten().tolist() == [0, 10, 21, 31]


def test_the_grid_shows_each_image_in_its_place():
    red, blue = (torch.zeros(2, 3, 32, 32) for _ in range(2))
    red[:, 0], blue[:, 2] = 1, 1
    sheet = np.asarray(pictures.grid({"seen": red, "true": blue})).astype(int)
    pure_red, pure_blue = (sheet == (255, 0, 0)).all(2), (sheet == (0, 0, 255)).all(2)
    assert pure_red.sum() == pure_blue.sum() == 2 * 96 * 96
    assert pure_red.any(0).nonzero()[0].max() < pure_blue.any(0).nonzero()[0].min()
    assert (sheet[:20] == 255).all()
    assert (sheet[:, :20] == 255).all()


def test_captions_are_drawn_and_long_ones_make_room():
    images = torch.zeros(2, 1, 28, 28)
    blank = pictures.grid({"seen": images, "said": ["", ""]})
    short = pictures.grid({"seen": images, "said": ["90°", "0°"]})
    long = pictures.grid({"seen": images, "said": ["a caption of many words " * 8, "жж"]})
    below_titles = [np.asarray(sheet)[60:, -60:] for sheet in (blank, short)]
    assert (below_titles[0] == 255).all()
    assert (below_titles[1] < 200).any()
    assert short.width < long.width <= short.width + 160
    assert long.height > short.height


def test_the_fonts_know_more_than_ascii():
    font = pictures._font("DejaVuSans.ttf", 13)
    missing = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != missing for letter in "°éЖα→")


def test_nothing_to_draw_is_said():
    for columns in ({}, {"seen": torch.empty(0, 3, 8, 8)}):
        with pytest.raises(UsageError, match="nothing to draw"):
            pictures.grid(columns)


def test_more_classes_than_colours_repeat_them():
    image, box = torch.zeros(3, 20, 20), [2.0, 2.0, 12.0, 12.0]
    first, later = (pictures.framed(image, torch.tensor([[*box, number, 1.0]])) for number in (3.0, 259.0))
    assert later.any() and torch.equal(first, later)
