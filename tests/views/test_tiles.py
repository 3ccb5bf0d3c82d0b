import pytest
import torch

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
    with pytest.raises(ValueError, match=r"^2 x 2 tiles of 17 pixels do not fit an image of 32 x 32: make them smaller\.$"):
        views.tiles(torch.zeros(1, 1, 32, 32), torch.Generator(), 2, 17)
