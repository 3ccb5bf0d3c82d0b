"""Geometric verification: find images that show the same place, by fitting a homography to their local features."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from withhold.errors import UsageError

POINTS, SIDE = 500, 64
"""Most local features per image; and pixels of the longer side to which smaller images are enlarged."""
RATIO, REACH = 0.75, 0.02
"""Largest ratio of the distances to the nearest and the next descriptor; largest error of an inlier, in lengths of the
longer side."""

Features = tuple[np.ndarray, np.ndarray]


def local_features(image: Tensor) -> Features:
    """SIFT (Lowe, IJCV 2004): image uint8 [1 or 3, h, w] -> points [n, 2] in lengths of the longer side, and [n, 128].

    Raises:
        UsageError: OpenCV is not installed.
    """
    cv2 = _opencv()
    pixels = image.permute(1, 2, 0).cpu().numpy()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels[..., 0]
    scale = max(1.0, SIDE / max(grey.shape))
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else grey
    points, descriptors = cv2.SIFT_create(POINTS).detectAndCompute(grey, None)
    places = np.array([point.pt for point in points], dtype=np.float32).reshape(-1, 2) / max(grey.shape)
    return places, np.zeros((0, 128), np.uint8) if descriptors is None else descriptors.astype(np.uint8)


def inliers(first: Features, second: Features) -> int:
    """Count the matches between two images that agree with one homography, which RANSAC finds.

    A match is accepted if its distance is below three quarters of that to the next descriptor (Lowe's ratio test). A
    homography relates two views of a plane, or of any scene if the camera only rotates.
    """
    cv2 = _opencv()
    if min(len(first[0]), len(second[0])) < 4:
        return 0
    two = cv2.BFMatcher().knnMatch(first[1].astype(np.float32), second[1].astype(np.float32), k=2)
    right = [near for near, next_one in two if near.distance < RATIO * next_one.distance]
    if len(right) < 4:
        return 0
    places = [first[0][[match.queryIdx for match in right]], second[0][[match.trainIdx for match in right]]]
    _, inside = cv2.findHomography(*places, cv2.RANSAC, REACH)
    return 0 if inside is None else int(inside.sum())


def same_place(images: Iterable[Tensor], pairs: Sequence[tuple[int, int]], least: int) -> list[tuple[int, int]]:
    """The pairs of images uint8 [c, h, w] with `least` or more `inliers`. Shows a progress bar."""
    found = [local_features(image) for image in tqdm(images, "local features", unit=" images", disable=None)]
    verified = tqdm(pairs, "verifying", unit=" pairs", disable=None)
    return [(i, j) for i, j in verified if inliers(found[i], found[j]) >= least]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UsageError("Matching points needs OpenCV, which is not installed: pip install 'withhold[match]'.") from (
            error
        )
    return cv2
