"""Vision transformers (Dosovitskiy et al., ICLR 2021)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder
from withhold.nets.registry import register

LARGEST = 512
"""The largest size in pixels: 32 patches of 16."""


class ViT(ImageEncoder):
    """A vision transformer with fixed position embeddings and no class token; features are the mean of the tokens.

    `patch` is the largest divisor of `size` that gives 8 or more patches per side, up to 16 pixels: 4 at 32 pixels, 12
    at 96, 16 at 224. Images of other sizes are padded at the right and bottom to whole patches.

    Args:
        dim: length of a token, a multiple of 4 and of `heads`.
        depth, heads: number of blocks, and of attention heads in a block.

    Raises:
        UsageError: `size` is below 8, or has no divisor that gives 32 or fewer patches per side.
    """

    default = "vit-tiny"

    def __init__(self, dim: int, depth: int, heads: int, size: int, channels: int):
        super().__init__(dim=dim, channels=channels, size=size, stride=patch_size(size))
        self.patch = self.stride
        self.embed = nn.Conv2d(channels, dim, self.patch, self.patch)
        nn.init.xavier_uniform_(self.embed.weight.data.view(dim, -1))
        self.register_buffer("positions", positions(self.grid, self.grid, dim), persistent=False)
        self.transformer = Transformer(dim, depth, heads)

    def tokens(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> patch embeddings with positions [n, l, dim], row by row.

        Pass all or some of them to `transformer(tokens)`.
        """
        return self._tokens(self.normalize(images))[0]

    def encode(self, x: Tensor) -> Tensor:
        tokens, grid = self._tokens(x)
        return self.transformer(tokens).transpose(1, 2).unflatten(2, grid)

    def stages(self):
        return [[self.embed], *([block] for block in self.transformer.blocks), [self.transformer.norm]]

    def _tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        height, width = x.shape[2:]
        if height % self.patch or width % self.patch:
            x = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
        embedded = self.embed(x)
        rows, columns = embedded.shape[2:]
        known = (rows, columns) == (self.grid, self.grid)
        where = self.positions if known else positions(rows, columns, self.dim).to(x.device)
        return embedded.flatten(2).transpose(1, 2) + where, (rows, columns)


class Transformer(nn.Module):
    """A pre-norm transformer with a final normalisation: tokens [n, l, dim] -> [n, l, dim].

    `seen`, a mask that broadcasts to [n, heads, l, l], is true where a token may attend to another; None for all.
    """

    def __init__(self, dim: int, depth: int, heads: int):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, seen)
        return self.norm(tokens)


class Block(nn.Module):
    """Attention over all tokens, then a perceptron on each, with a shortcut around both: [n, l, dim] -> [n, l, dim]."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attend, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        query, key, value = self.attend(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, seen).transpose(1, 2).flatten(2)
        tokens = tokens + self.project(mixed)
        return tokens + self.perceptron(self.norm2(tokens))


def positions(rows: int, columns: int, dim: int) -> Tensor:
    """Fixed sine-cosine position embeddings of all cells, [rows * columns, dim]; `dim` is a multiple of 4.

    A quarter of the features each are sin(row * f), cos(row * f), sin(column * f) and cos(column * f), for
    frequencies f from 1 down to nearly 1/10000 (Vaswani et al., 2017; in two dimensions as in He et al., CVPR 2022).
    """
    frequencies = 10000.0 ** -(torch.arange(dim // 4) / (dim // 4))
    angles = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))[:, :, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)


def patch_size(size: int) -> int:
    """Patch size in pixels for images of `size` pixels: see `ViT`."""
    if size < 8:
        raise UsageError(f"Images of {size} pixels are too small for a ViT. Use 8 or more.")
    if found := _largest(size):
        return found
    below = next(other for other in range(min(size, LARGEST), 0, -1) if _largest(other))
    above = next((f" or {other}" for other in range(size, LARGEST + 1) if _largest(other)), "")
    raise UsageError(
        f"Images of {size} pixels cannot be cut into 8 to 32 patches per side. Use a size of {below}{above}."
    )


def _largest(size: int) -> int:
    """The largest patch of at most 16 pixels, of which 8 to 32 fill a side; 0 if there is none."""
    return next((patch for patch in range(16, 0, -1) if size % patch == 0 and 8 <= size // patch <= 32), 0)


@register
def vit_tiny(size: int, channels: int) -> ImageEncoder:
    """192 features and twelve blocks; below 64 pixels six, so that it trains on a CPU."""
    return ViT(dim=192, depth=12 if size >= 64 else 6, heads=3, size=size, channels=channels)


@register
def vit_small(size: int, channels: int) -> ImageEncoder:
    """384 features and twelve blocks."""
    return ViT(dim=384, depth=12, heads=6, size=size, channels=channels)
