"""Synthetic stick figures with a head, two hands and two feet, and the places of these joints."""

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw

HUES = (0.12, 0.0, 0.33, 0.6, 0.85)
"""Hues of the head, the left and right arm, and the left and right leg: the same in every figure."""
FINE = 4
"""Scale at which figures are drawn before they are reduced."""


def figures(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count, size, size, 3], and the places of head, hands and feet in pixels, float32 [count, 5, 2].

    Position, scale, background shade, limb angles and the brightness of the limbs vary between figures.
    """
    rng = np.random.default_rng(seed)
    drawn, joints = [], np.empty((count, len(HUES), 2), dtype=np.float32)
    for item in range(count):
        unit = size * FINE * rng.uniform(0.17, 0.23)
        hip = size * FINE * rng.uniform(0.42, 0.58, 2)
        neck = hip + unit * _turned(rng.uniform(-0.2, 0.2), -1)
        arms = [neck + 1.3 * unit * _turned(side * rng.uniform(0.5, 2.2), 1) for side in (-1, 1)]
        legs = [hip + 1.5 * unit * _turned(side * rng.uniform(0.1, 0.9), 1) for side in (-1, 1)]
        ends = [neck + 0.6 * unit * _turned(rng.uniform(-0.4, 0.4), -1), *arms, *legs]
        ground = tuple(int(shade) for shade in rng.integers(0, 90, 3))
        picture = Image.new("RGB", (size * FINE, size * FINE), ground)
        brush = ImageDraw.Draw(picture)
        width = round(0.3 * unit)
        brush.line([*hip, *neck], fill=(200, 200, 200), width=width)
        for hue, end, start in reversed(list(zip(HUES, ends, (neck, neck, neck, hip, hip), strict=True))):
            colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, rng.uniform(0.6, 1.0)))
            brush.line([*start, *end], fill=colour, width=width)
            reach = 0.4 * unit if hue == HUES[0] else width / 2
            brush.ellipse([*(end - reach), *(end + reach)], fill=colour)
        drawn.append(np.asarray(picture.resize((size, size), Image.Resampling.BOX)))
        joints[item] = np.array(ends) / FINE
    return np.stack(drawn), joints


def _turned(angle: float, down: float) -> np.ndarray:
    """A unit vector (x, y) that points down (`down` = 1) or up (-1), turned by an angle in radians."""
    return down * np.array([math.sin(angle) * down, math.cos(angle)])
