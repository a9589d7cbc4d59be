"""Boxes in pixels: anchors, moving them by deltas, overlaps, and which to keep.

A box is x1, y1, x2, y2, both corners inside, so that its width is x2 - x1 + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# exp(LARGEST_LOG) is a box 22,000 times as large: the exponential of more overflows.
LARGEST_LOG = 10.0


def anchors(
    base_size: int, ratio: Sequence[float], scale: Sequence[float]
) -> np.ndarray:
    """Return boxes of every ratio, height / width, and in it of every scale.

        w = round(sqrt(base_size^2 / ratio)), h = round(w ratio)
        the box of w scale x h scale around the centre of base_size x base_size

    Shapes: -> (ratios scales, 4). Source: Ren and others, Faster R-CNN, 2015.
    """
    made = []
    for one in ratio:
        width = np.floor(np.sqrt(base_size**2 / one) + 0.5)
        height = np.floor(width * one + 0.5)
        for times in scale:
            side = np.array([width * times - 1, height * times - 1]) / 2
            centre = (base_size - 1) / 2
            made.append([*(centre - side), *(centre + side)])
    return np.array(made, np.float64)


def shifted(boxes: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """Return boxes at every position of a map, `stride` pixels apart.

    Shapes: boxes (A, 4) -> (height, width, A, 4).
    """
    down, along = np.arange(height) * stride, np.arange(width) * stride
    shift = np.zeros((height, width, 1, 4), boxes.dtype)
    shift[..., 0::2] = along[None, :, None, None]
    shift[..., 1::2] = down[:, None, None, None]
    result: np.ndarray = boxes + shift
    return result


def moved(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Move and resize boxes: dx and dy are shares of their size, dw and dh logarithms.

        centre += (dx w, dy h);  w *= exp(dw), h *= exp(dh);  corners = centre -+ w / 2

    Shapes: boxes, deltas (..., 4) -> (..., 4).
    """
    size = boxes[..., 2:] - boxes[..., :2] + 1
    centre = boxes[..., :2] + size / 2 + deltas[..., :2] * size
    size = size * np.exp(np.minimum(deltas[..., 2:], LARGEST_LOG)) / 2
    result: np.ndarray = np.concatenate([centre - size, centre + size], axis=-1)
    return result


def clipped(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Return boxes cut at the border of an image."""
    low, high = np.zeros(4), np.array([width, height, width, height]) - 1
    result: np.ndarray = np.clip(boxes, low, np.maximum(high, 0)).astype(boxes.dtype)
    return result


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over the union of a box and each of others.

    Shapes: box (4,), others (K, 4) -> (K,).
    """
    low = np.maximum(box[:2], others[:, :2])
    both = np.maximum(np.minimum(box[2:], others[:, 2:]) - low + 1, 0).prod(axis=1)
    sizes = (others[:, 2:] - others[:, :2] + 1).prod(axis=1)
    union = (box[2:] - box[:2] + 1).prod() + sizes - both
    result: np.ndarray = both / union
    return result


def kept(boxes: np.ndarray, threshold: float, most: int) -> list[int]:
    """Return the boxes that no kept box before them overlaps more than `threshold`.

    Shapes: boxes (K, 4), the best first.
    """
    left = np.arange(len(boxes))
    chosen: list[int] = []
    limit: Any = boxes.dtype.type(threshold)
    while len(left) and len(chosen) < most:
        first, left = left[0], left[1:]
        chosen.append(int(first))
        left = left[overlaps(boxes[first], boxes[left]) <= limit]
    return chosen
