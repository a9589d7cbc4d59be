"""Boxes of objects in an image: their arithmetic.

Shapes: a box is (xmin, ymin, xmax, ymax), boxes are (B, 4). What they are measured in,
pixels or sides of the image, the caller decides. Source: the SSD fork.
"""

from __future__ import annotations

import numpy as np

from netspec.schema import EmitConstraint


def areas(boxes: np.ndarray) -> np.ndarray:
    """Return the area of every box, 0 of what is none. Shapes: (..., 4) -> (...)."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    product: np.ndarray = sides[..., 0] * sides[..., 1]
    return product


def common(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the areas that boxes have in common; they broadcast."""
    least = np.maximum(one[..., :2], other[..., :2])
    most = np.minimum(one[..., 2:], other[..., 2:])
    return areas(np.concatenate([least, most], axis=-1))


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Jaccard overlaps: common area / area of both together."""
    shared = common(one, other)
    return _ratio(shared, areas(one) + areas(other) - shared)


def coverage(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which parts of `one` the boxes `other` cover."""
    return _ratio(common(one, other), areas(one))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    found = np.zeros(np.broadcast_shapes(part.shape, whole.shape))
    return np.divide(part, whole, out=found, where=(part > 0) & (whole > 0))


def emitted(
    boxes: np.ndarray, window: np.ndarray, constraint: EmitConstraint | None
) -> np.ndarray:
    """Say which boxes a window keeps.

    Those that share some area with it, and that

        CENTER       have their centre within it
        MIN_OVERLAP  lie within it by more than `emit_overlap` of their area

    where there is a constraint. Shapes: boxes (B, 4), window (4,) -> (B,) bool.
    """
    kept: np.ndarray = common(boxes, window) > 0
    if constraint is None:
        return kept
    if constraint.emit_type == EmitConstraint.MIN_OVERLAP:
        return kept & (coverage(boxes, window) > constraint.emit_overlap)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (centres >= window[:2]) & (centres <= window[2:])
    return kept & inside.all(axis=1)


def within(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return boxes as a window has them: cut at its sides, measured from its corner."""
    cut = np.concatenate(
        [np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])],
        axis=1,
    )
    moved: np.ndarray = cut - np.tile(window[:2], 2)
    return moved


def mirrored(boxes: np.ndarray, width: float) -> np.ndarray:
    """Return boxes of an image of this width, flipped left and right."""
    left, right = width - boxes[:, 2], width - boxes[:, 0]
    return np.stack([left, boxes[:, 1], right, boxes[:, 3]], axis=1)
