import math

import pytest
import torch
from torch.nn import functional as F

from withhold import views


@pytest.mark.parametrize(("h", "w", "grid", "size"), [(32, 32, 2, 12), (28, 31, 3, 7), (10, 10, 2, 5)])
def test_every_tile_is_a_window_inside_its_own_cell(h, w, grid, size):
    n = 40
    images = torch.arange(n * 3 * h * w).reshape(n, 3, h, w)  # every value once, so that a value tells its place
    tiles = views.tiles(images, torch.Generator().manual_seed(0), grid, size)
    assert tiles.shape == (n, grid * grid, 3, size, size)
    tops = set()
    for i in range(n):
        for cell in range(grid * grid):
            first = int(tiles[i, cell, 0, 0, 0])
            top, left = first % (h * w) // w, first % w
            assert torch.equal(tiles[i, cell], images[i, :, top : top + size, left : left + size])
            row, column = cell // grid * (h // grid), cell % grid * (w // grid)
            assert row <= top <= row + h // grid - size
            assert column <= left <= column + w // grid - size
            tops.add(top - row)
    assert tops == set(range(h // grid - size + 1))


def test_tiles_larger_than_a_cell_are_refused():
    with pytest.raises(ValueError, match=r"^2 x 2 tiles of 17 pixels do not fit an image of 32 x 32\. Use"):
        views.tiles(torch.zeros(1, 1, 32, 32), torch.Generator(), 2, 17)


@pytest.mark.parametrize(
    ("size", "grid", "expected"), [(32, None, (2, 12)), (63, None, (2, 24)), (64, None, (3, 16)), (32, 3, (3, 8))]
)
def test_tiles_are_four_fifths_of_a_cell_and_more_in_larger_images(size, grid, expected):
    assert views.tiling(size, grid) == expected


def test_a_board_shows_tiles_in_reading_order():
    tiles = torch.arange(6).float().div(10)[None, :, None, None, None].expand(2, 6, 3, 4, 4)
    board = views.board(tiles, columns=3)
    assert board.shape == (2, 3, 12, 18)
    assert torch.allclose(board[1, 2, 3::6, 3::6], torch.tensor([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]))
    assert (board[:, :, 0] == 1).all()


def test_four_tiles_have_all_their_orders():
    orders = views.distant_orders(4, 100)
    assert len({tuple(order) for order in orders.tolist()}) == math.factorial(4)
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(24, 4))


def test_nine_tiles_have_orders_that_differ_more_than_the_released_ones():
    """The paper's 100 permutations have the mean distance 8.08 and the smallest distance 2."""
    orders = views.distant_orders(9, 100)
    assert torch.equal(orders.sort(1).values, torch.arange(9).expand(100, 9))
    distances = [
        sum(a != b for a, b in zip(first, second, strict=True))
        for i, first in enumerate(orders.tolist())
        for second in orders.tolist()[:i]
    ]
    assert min(distances) >= 5
    assert sum(distances) / len(distances) > 8.0
    places = F.one_hot(orders, 9).float().mean(0)  # no tile prefers a place
    assert places.max() < 0.2
    assert places.min() > 0.05
