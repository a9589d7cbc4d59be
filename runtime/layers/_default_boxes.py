"""Boxes on the host: their codes, how much they overlap, and which of them are kept.

A box is four numbers, xmin, ymin, xmax and ymax, in units of the image. All functions
keep the floating type that they are given.
"""

from __future__ import annotations

import numpy as np

from netspec.ops.boxes import Resizing

LEAST_ETA_THRESHOLD = 0.5  # below which an adaptive threshold falls no further
LEAST_OVERLAP = 1e-6  # what is less is none
SMALLEST_BOX = 1e-5  # of hard examples; smaller boxes are left out


def areas(boxes: np.ndarray) -> np.ndarray:
    """Return the area of every box, 0 for one whose corners are the wrong way round.

    Shapes: boxes (..., 4) -> (...).
    """
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return np.where((width < 0) | (height < 0), 0, width * height).astype(boxes.dtype)


def overlaps(
    a: np.ndarray,
    b: np.ndarray,
    sizes_a: np.ndarray | None = None,
    sizes_b: np.ndarray | None = None,
    pixel: float = 0,
) -> np.ndarray:
    """Return the overlap, intersection over union, of each of `a` with each of `b`.

    sizes_a, sizes_b: the areas, where they are known or are not those of the corners.
    pixel: added to the sides of the intersection, 1 for boxes in whole pixels.

    Shapes: a (A, 4), b (B, 4) -> (A, B).
    """
    sizes_a = areas(a) if sizes_a is None else sizes_a
    sizes_b = areas(b) if sizes_b is None else sizes_b
    # Coordinate by coordinate: sums over an axis of two are slow.
    width = np.minimum.outer(a[:, 2], b[:, 2]) - np.maximum.outer(a[:, 0], b[:, 0])
    height = np.minimum.outer(a[:, 3], b[:, 3]) - np.maximum.outer(a[:, 1], b[:, 1])
    if pixel:  # boxes that do not meet have an intersection of no size, not of pixels
        apart = (width < 0) | (height < 0)
        width[apart] = height[apart] = 0
        width += pixel
        height += pixel
    shared = width * height
    union = np.add.outer(sizes_a, sizes_b) - shared
    out = np.zeros_like(shared)
    np.divide(shared, union, out=out, where=(width > 0) & (height > 0))
    return out


def decode(
    priors: np.ndarray,
    variances: np.ndarray,
    codes: np.ndarray,
    code_type: str,
    *,
    variance_in_target: bool,
) -> np.ndarray:
    """Return the boxes that codes stand for, relative to priors.

        CORNER:      corner of the prior + code
        CORNER_SIZE: the same, code * side of the prior
        CENTER_SIZE: centre + code * side, and side * exp(code)

    A code is first multiplied by its variance, unless `variance_in_target`.

    Shapes: priors, variances (P, 4), codes (..., P, 4) -> (..., P, 4).
    """
    if not variance_in_target:
        codes = variances * codes
    if code_type == "CORNER":
        return priors + codes
    sides = priors[:, 2:] - priors[:, :2]
    if code_type == "CORNER_SIZE":
        return priors + codes * np.tile(sides, 2)
    centres = (priors[:, :2] + priors[:, 2:]) / 2
    middle = codes[..., :2] * sides + centres
    half = np.exp(codes[..., 2:]) * sides / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


def encode(
    priors: np.ndarray,
    variances: np.ndarray,
    boxes: np.ndarray,
    code_type: str,
    *,
    variance_in_target: bool,
) -> np.ndarray:
    """Return the codes of boxes relative to priors: what `decode` undoes.

    Shapes: priors, variances, boxes (M, 4) -> (M, 4).
    """
    if code_type == "CORNER":
        codes = boxes - priors
    elif code_type == "CORNER_SIZE":
        codes = (boxes - priors) / np.tile(priors[:, 2:] - priors[:, :2], 2)
    else:
        sides = priors[:, 2:] - priors[:, :2]
        moved = (boxes[:, :2] + boxes[:, 2:]) / 2 - (priors[:, :2] + priors[:, 2:]) / 2
        grown = np.log((boxes[:, 2:] - boxes[:, :2]) / sides)
        codes = np.concatenate([moved / sides, grown], axis=1)
    return codes if variance_in_target else codes / variances


def by_score(scores: np.ndarray, top_k: int | None = None) -> np.ndarray:
    """Return the places of scores from the highest down; of equal ones in order."""
    return np.argsort(-scores, kind="stable")[:top_k]


def suppress(
    boxes: np.ndarray, order: np.ndarray, threshold: float, eta: float
) -> np.ndarray:
    """Return which boxes are left: those that overlap none kept before by too much.

    eta: what the threshold is multiplied by after each box that is kept, while it is
    above 0.5.

    Shapes: boxes (P, 4), order (K) of places in `boxes` -> (M), M <= K.
    """
    sizes = areas(boxes)
    kept: list[int] = []
    dtype = boxes.dtype.type
    limit = dtype(threshold)
    for index in order:
        if kept:
            one = slice(index, index + 1)
            shared = overlaps(boxes[one], boxes[kept], sizes[one], sizes[kept])
            if not np.all(shared <= limit):
                continue
        kept.append(int(index))
        if eta < 1 and limit > LEAST_ETA_THRESHOLD:
            limit = dtype(limit * dtype(eta))
    return np.array(kept, np.int64)


def thin(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, top_k: int | None
) -> np.ndarray:
    """Return the places of the highest scores, without boxes that overlap too much.

    Boxes smaller than a certain area are left out. It is how hard examples are chosen.

    Shapes: boxes (P, 4), scores (P) -> (M).
    """
    order = by_score(scores, top_k)
    order = order[areas(boxes[order]) >= SMALLEST_BOX]
    return suppress(boxes, order, threshold, 1.0)


def clipped(
    boxes: np.ndarray, size: tuple[float, float] = (1, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes cut at the sides of an image of (height, width), and their areas."""
    height, width = size
    limits = np.array([width, height, width, height], boxes.dtype)
    cut = np.maximum(np.minimum(boxes, limits), 0)
    return cut, areas(cut)


def scaled(boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes in pixels of an image of (height, width), and their areas.

    Areas in pixels count both corners: (width + 1) * (height + 1).
    """
    height, width = size
    pixels = boxes * np.array([width, height, width, height], boxes.dtype)
    sides = pixels[..., 2:] - pixels[..., :2]
    pixel = 1 if width > 1 or height > 1 else 0
    inverted = np.any(sides < 0, axis=-1)
    sizes = np.where(inverted, 0, (sides[..., 0] + pixel) * (sides[..., 1] + pixel))
    return pixels, sizes.astype(boxes.dtype)


def in_pixels(
    boxes: np.ndarray, size: tuple[int, int], resizing: Resizing | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes in the pixels of the image before it was resized, and their areas.

    size: (height, width) of that image. Boxes are cut at its sides.

    Shapes: boxes (K, 4) -> (K, 4), (K).
    """
    if resizing is None or resizing.mode == "WARP":
        return scaled(clipped(boxes)[0], size)
    if resizing.mode == "FIT_SMALL_SIZE":
        if not all(resizing.scale):
            return scaled(clipped(boxes)[0], size)
        return clipped(scaled(boxes, resizing.scale)[0], size)
    return scaled(clipped(_without_border(boxes, size, resizing))[0], size)


def _without_border(
    boxes: np.ndarray, size: tuple[int, int], resizing: Resizing
) -> np.ndarray:
    """Return boxes in units of the image, from those of the image with its border.

    Boxes that lie in the border alone stay as they are, as in SSD.
    """
    (height, width), (tall, wide) = size, resizing.size
    aspect = width / height
    top = left = 0.0
    if aspect > wide / tall:
        top = (tall - wide / aspect) / 2 / tall
    else:
        left = (wide - tall * aspect) / 2 / wide
    low = np.array([left, top], boxes.dtype)
    high = np.array([1 - left, 1 - top], boxes.dtype)
    outside = np.any((boxes[:, :2] >= high) | (boxes[:, 2:] <= low), axis=1)
    inside = (boxes - np.tile(low, 2)) / np.tile(high - low, 2)
    return np.where(outside[:, None], boxes, inside)
