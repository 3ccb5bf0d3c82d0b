"""Pictures of samples: inputs, predictions and targets side by side."""

import math
import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from withhold.errors import UsageError

Columns = dict[str, Tensor | list[str]]

PAPER, INK, FAINT = "#ffffff", "#1b1f24", "#6a737d"
MARGIN, GAP, LINE, CAPTION = 24, 8, 17, 18  # in pixels; CAPTION in letters per line
THIN = 200
"""The shorter side of an image divided by the width of outlines in it."""
ROWS, FRAMES = 8, 8
"""The most samples of a picture, and frames of a clip, that are drawn."""
_BITS = torch.arange(256)[:, None, None] >> (3 * torch.arange(3) + torch.arange(3)[:, None]) & 1
PALETTE = (_BITS << (7 - torch.arange(3))).sum(2)
"""The colours of classes by number, int64 [256, 3], as in Pascal VOC: every third bit belongs to one colour channel."""


def painted(masks: Tensor) -> Tensor:
    """Masks int [n, h, w] of numbers up to 255 -> their colours, float [n, 3, h, w] in [0, 1]."""
    return PALETTE.to(masks.device)[masks.long()].movedim(-1, 1) / 255


def framed(image: Tensor, boxes: Tensor) -> Tensor:
    """Draw boxes [m, 5 or more], left, top, right, bottom, class, into an image float [3, h, w].

    Each is an outline in the colour of its class; class 0 has colour 1 of the palette, and after the last colour they
    repeat. Boxes with NaN are not drawn.
    """
    drawn, (h, w) = image.clone(), image.shape[1:]
    colours = PALETTE.to(image) / 255
    thick = max(1, round(min(h, w) / THIN))
    for *corners, number in boxes[~boxes[:, :5].isnan().any(1), :5].round().int().tolist():
        left, right = (max(0, min(corner, w - thick)) for corner in corners[::2])
        top, bottom = (max(0, min(corner, h - thick)) for corner in corners[1::2])
        for rows, columns in (
            (slice(top, bottom + thick), slice(left, left + thick)),
            (slice(top, bottom + thick), slice(right, right + thick)),
            (slice(top, top + thick), slice(left, right + thick)),
            (slice(bottom, bottom + thick), slice(left, right + thick)),
        ):
            drawn[:, rows, columns] = colours[(number + 1) % len(colours), :, None, None]
    return drawn


def to_image(image: Tensor) -> Image.Image:
    """Convert a float image [c, h, w] in [0, 1], c = 1 or 3, to a Pillow image of the same size.

    Up to eight frames of a clip [t, c, h, w] are drawn side by side.
    """
    if image.ndim == 4:
        frames = image[torch.linspace(0, len(image) - 1, min(FRAMES, len(image))).round().long()]
        image = torch.cat(list(frames), dim=2)
    pixels = image.detach().float().nan_to_num(0.0).clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy())


def tile(image: Tensor, side: int = 96) -> Image.Image:
    """Draw a float image [c, h, w] in [0, 1], or each frame of a clip, with a longer side of about `side` pixels.

    Small images are enlarged by a whole factor without smoothing; large ones are reduced to `side`.
    """
    picture = to_image(image)
    longest = max(image.shape[-2:])
    if longest > side:
        return picture.resize(
            [max(1, round(length * side / longest)) for length in picture.size], Image.Resampling.LANCZOS
        )
    factor = max(1, round(side / longest))
    return picture.resize([length * factor for length in picture.size], Image.Resampling.NEAREST)


def select(columns: Columns, rows: int) -> Columns:
    """Select up to `rows` samples of `columns`, evenly spread, because methods concatenate their views of a batch.

    The column "seen" comes first, then "said", then "true", then the others.
    """
    count = min((len(column) for column in columns.values()), default=0)
    chosen = torch.linspace(0, count - 1, min(rows, count)).round().int().tolist()
    rank = {"seen": 0, "said": 1, "true": 2}
    return {name: _take(columns[name], chosen) for name in sorted(columns, key=lambda name: rank.get(name, 3))}


def grid(columns: Columns) -> Image.Image:
    """Draw a picture of up to eight samples, with one row for each sample and a titled column for each entry.

    Args:
        columns: images float [n, c, h, w] in [0, 1], or captions [n], by title, as from `Method.picture`.

    Raises:
        UsageError: there is no sample in `columns`.
    """
    chosen = select(columns, ROWS)
    if not chosen or not len(next(iter(chosen.values()))):
        raise UsageError("There is nothing to draw: the method has no picture of its samples.")
    regular, bold = _font("DejaVuSans.ttf", 13), _font("DejaVuSans-Bold.ttf", 13)
    cells = {
        title: [textwrap.fill(cell, CAPTION) if isinstance(cell, str) else tile(cell) for cell in column]
        for title, column in chosen.items()
    }
    widths = {
        title: max(bold.getlength(title), *(_width(cell, regular) for cell in column))
        for title, column in cells.items()
    }
    heights = [max(_height(cell) for cell in row) for row in zip(*cells.values(), strict=True)]
    size = (
        2 * MARGIN + round(sum(widths.values())) + 2 * GAP * (len(widths) - 1),
        2 * MARGIN + LINE + sum(heights) + GAP * len(heights),
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    left = float(MARGIN)
    for title, column in cells.items():
        centre = left + widths[title] / 2
        draw.text((centre, MARGIN), title, INK, bold, anchor="ma")
        top = MARGIN + LINE + GAP
        for cell, height in zip(column, heights, strict=True):
            middle = top + height / 2
            if isinstance(cell, str):
                draw.multiline_text((centre, middle), cell, FAINT, regular, anchor="mm", align="center")
            else:
                sheet.paste(cell, (round(centre - cell.width / 2), round(middle - cell.height / 2)))
            top += height + GAP
        left += widths[title] + 2 * GAP
    return sheet


def listed(colours: dict[str, str]) -> Image.Image:
    """Draw a legend: each name next to a square of its colour, "#rrggbb"."""
    font = _font("DejaVuSans.ttf", 13)
    width = 2 * MARGIN + LINE + GAP + math.ceil(max(map(font.getlength, colours)))
    sheet = Image.new("RGB", (width, 2 * MARGIN + (LINE + GAP) * len(colours) - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (name, colour) in enumerate(colours.items()):
        top = MARGIN + row * (LINE + GAP)
        draw.rectangle((MARGIN, top, MARGIN + LINE, top + LINE), colour, FAINT)
        draw.text((MARGIN + LINE + GAP, top + LINE / 2), name, INK, font, anchor="lm")
    return sheet


def _take(column: Tensor | list[str], chosen: list[int]) -> Tensor | list[str]:
    return column[chosen] if isinstance(column, Tensor) else [column[index] for index in chosen]


def _width(cell: Image.Image | str, font: ImageFont.FreeTypeFont) -> float:
    return max(map(font.getlength, cell.split("\n"))) if isinstance(cell, str) else cell.width


def _height(cell: Image.Image | str) -> int:
    return LINE * (cell.count("\n") + 1) if isinstance(cell, str) else cell.height


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font of matplotlib; these cover more alphabets than Pillow's own."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
