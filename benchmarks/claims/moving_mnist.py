"""Moving MNIST: digits that move over a black square and bounce off its sides.

As Srivastava, Mansimov & Salakhutdinov (ICML 2015) made it: 64 pixels, two digits of 28 pixels, a random start and
direction, a step of a tenth of the free range per frame; where digits overlap, the brighter pixel is shown. Their
generator stops a digit at the wall, which shortens the step into the wall but not the one away from it, so that frames
at a wall show the direction of time. With `reflect` a digit bounces as a mirror image, and time can run either way.
"""

import numpy as np

SIDE, STEP = 64, 0.1


def tracks(rng: np.random.Generator, count: int, frames: int, reflect: bool) -> np.ndarray:
    """Places in [0, 1], float [count, frames, 2], of points with random starts that bounce off the sides."""
    angle = rng.uniform(0, 2 * np.pi, count)
    velocity = STEP * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    place = rng.uniform(0, 1, (count, 2))
    found = []
    for _ in range(frames):
        place = place + velocity
        outside = (place < 0) | (place > 1)
        inside = place.clip(0, 1)
        velocity = np.where(outside, -velocity, velocity)
        place = np.where(outside, 2 * inside - place, place) if reflect else inside
        found.append(place)
    return np.stack(found, axis=1)


def clips(
    images: np.ndarray, count: int, seed: int, *, frames: int = 20, digits: int = 2, reflect: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Make `count` clips from random digits of `images`, uint8 [m, 28, 28].

    Returns:
        uint8 [count, frames, 64, 64], and which images move in each, int64 [count, digits].
    """
    rng = np.random.default_rng(seed)
    side = images.shape[1]
    chosen = rng.integers(len(images), size=(count, digits))
    places = tracks(rng, count * digits, frames, reflect).reshape(count, digits, frames, 2)
    corners = ((SIDE - side) * places).astype(int)
    found = np.zeros((count, frames, SIDE, SIDE), dtype=np.uint8)
    for clip in range(count):
        for digit in range(digits):
            image = images[chosen[clip, digit]]
            for frame, (top, left) in enumerate(corners[clip, digit]):
                window = found[clip, frame, top : top + side, left : left + side]
                np.maximum(window, image, out=window)
    return found, chosen
