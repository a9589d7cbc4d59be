"""Regions of interest: which image, and which pixels each of their parts covers.

All is computed in the type of the blobs, an operation at a time as Caffe's code does,
since a part ends a pixel later where a product is rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Op, bottom_name, label
from netspec.ops.region import PSROIPooling, RegionOp, ROIAlign, ROIPooling

FAR = 2.0**30  # a corner further away is a mistake, and may be no int32
LEAST_SIDE = 0.1  # of a region for PSROIPooling, in pixels of the features


@dataclass(frozen=True)
class Bins:
    """The pixels of all parts of all regions: rows and columns by themselves.

    Shapes: items (R,) int64; top, bottom (R, pooled_h) int64, the first row and the one
    behind the last; left, right (R, pooled_w). Empty where bottom <= top.
    """

    items: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


def read_regions(op: Op, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and the corners of regions, after checking them.

    Shapes: regions (R, 5) -> images (R,) int64, corners (R, 4).
    """
    rows = regions.reshape(len(regions), 5)
    images = op.bottoms[0][0]
    with np.errstate(invalid="ignore"):
        fine = np.abs(rows) < FAR
    if not fine.all():
        row, column = np.argwhere(~fine)[0]
        raise SpecError(
            f"{bottom_name(op.layer, 1)} holds {rows[row, column]:g} in region {row}; "
            f"expected coordinates in pixels. Look at the layer that makes the "
            f"regions, and whether training diverged",
            layer=label(op.layer),
        )
    items = rows[:, 0].astype(np.int64)
    bad = (items < 0) | (items >= images)
    if bad.any():
        row = int(bad.argmax())
        expected = f"0 to {images - 1}" if images else "no region, as there is no image"
        raise SpecError(
            f"{bottom_name(op.layer, 1)} names image {items[row]} in region {row}; "
            f"expected {expected}: the first value of a region is the number of its "
            f"image in {bottom_name(op.layer, 0)}",
            layer=label(op.layer),
        )
    return items, rows[:, 1:]


def round_away(x: np.ndarray) -> np.ndarray:
    """Round halves away from 0, as C's `round` does."""
    whole = np.trunc(x)
    result: np.ndarray = whole + np.copysign(np.abs(x - whole) >= 0.5, x)
    return result


def sides(op: RegionOp) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return parts and pixels of columns, and of rows."""
    _, _, h, w = op.bottoms[0]
    return (op.pooled_w, w), (op.pooled_h, h)


def scaled_corners(op: RegionOp, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and the corners of regions, in pixels of the features.

    Shapes: regions (R, 5) -> images (R,), corners (R, 4) float64.
    """
    items, corners = read_regions(op, regions)
    real: Any = corners.dtype.type
    scaled: np.ndarray = (corners * real(op.spatial_scale)).astype(np.float64)
    return items, scaled


def _clipped(values: np.ndarray, size: int) -> np.ndarray:
    result: np.ndarray = np.clip(values.astype(np.int64), 0, size)
    return result


def maximum_bins(op: ROIPooling, regions: np.ndarray) -> Bins:
    """Return the parts of regions for ROIPooling.

    The corners are scaled and rounded; a part i of P begins at floor(i side / P) and
    ends before ceil((i + 1) side / P).
    """
    items, corners = read_regions(op, regions)
    real: Any = corners.dtype.type
    scale, edges = real(op.spatial_scale), []
    for axis, (pooled, size) in enumerate(sides(op)):
        first, last = corners[:, axis], corners[:, axis + 2]
        if op.pad_ratio:
            grown = (last - first + real(1)) * real(op.pad_ratio)
            first, last = first - grown, last + grown
        start, end = round_away(first * scale), round_away(last * scale)
        side = np.maximum(end - start + real(1), real(1)) / real(pooled)
        part = np.arange(pooled + 1).astype(corners.dtype)
        begins = np.floor(part[:-1] * side[:, None]) + start[:, None]
        ends = np.ceil(part[1:] * side[:, None]) + start[:, None]
        edges.append((_clipped(begins, size), _clipped(ends, size)))
    (left, right), (top, bottom) = edges
    return Bins(items, top, bottom, left, right)


def mean_bins(op: PSROIPooling, regions: np.ndarray) -> Bins:
    """Return the parts of regions for PSROIPooling.

    The corners are rounded, then scaled, and the far ones are a pixel further; a part i
    of P begins at floor(i side / P + start) and ends before ceil((i + 1) side / P +
    start).
    """
    items, corners = read_regions(op, regions)
    real: Any = corners.dtype.type
    scale, edges = real(op.spatial_scale), []
    for axis, (_, size) in enumerate(sides(op)):
        start = round_away(corners[:, axis]) * scale
        end = (round_away(corners[:, axis + 2]) + real(1)) * scale
        side = np.maximum(end - start, real(LEAST_SIDE)) / real(op.group_size)
        part = np.arange(op.group_size + 1).astype(corners.dtype)
        lines = part * side[:, None] + start[:, None]
        edges.append(
            (
                _clipped(np.floor(lines[:, :-1]), size),
                _clipped(np.ceil(lines[:, 1:]), size),
            )
        )
    (left, right), (top, bottom) = edges
    return Bins(items, top, bottom, left, right)


def align_shares(
    op: ROIAlign, regions: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return what each pixel counts in the means of ROIAlign, by rows and columns.

    Part (i, j) of region r is the sum of down[r, i, h] along[r, j, w] x[h, w].

    Shapes: regions (R, 5) -> images (R,), down (R, pooled_h, H), along (R, pooled_w,
    W), in the type of the regions.
    """
    items, corners = scaled_corners(op, regions)
    shares = []
    for axis, (pooled, size) in enumerate(sides(op)):
        start = corners[:, axis]
        side = np.maximum(corners[:, axis + 2] - start, 1) / pooled
        samples = np.ceil(side).astype(np.int64)
        if op.sampling_ratio:
            samples[:] = op.sampling_ratio
        found = np.zeros((len(items), pooled, size))
        for number in np.unique(samples):
            own = np.flatnonzero(samples == number)
            found[own] = _sampled(start[own], side[own], pooled, int(number), size)
        shares.append(found.astype(regions.dtype))
    along, down = shares
    return items, (down, along)


def _sampled(
    start: np.ndarray, side: np.ndarray, pooled: int, samples: int, size: int
) -> np.ndarray:
    """Return what each pixel of a line counts in the mean of the samples of each part.

    Samples lie between the first and the last pixel, those up to a pixel outside at the
    edge; the others are 0.

    Shapes: start, side (K,) -> (K, pooled, size).
    """
    shares = np.zeros((len(start), pooled, size))
    step, end = side / samples, pooled * samples
    if not len(start) or not size:
        return shares
    # Of a region that is far larger than the image, most samples are outside.
    first = int(np.clip(np.floor((-1 - start) / step - 1).min(), 0, end))
    last = int(np.clip(np.ceil((size - start) / step + 1).max(), 0, end))
    most = max(1, (1 << 22) // len(start))
    for begin in range(first, last, most):
        k = np.arange(begin, min(last, begin + most))
        places = start[:, None] + (k + 0.5) * step[:, None]
        seen = ((places >= -1) & (places <= size)) / samples
        places = np.clip(places, 0, size - 1)
        low = np.floor(places).astype(np.int64)
        far = places - low
        line = np.arange(len(start))[:, None] * pooled + k // samples
        for pixel, share in ((low, 1 - far), (np.minimum(low + 1, size - 1), far)):
            at = (line * size + pixel).ravel()
            counted = np.bincount(at, (share * seen).ravel(), shares.size)
            shares += counted.reshape(shares.shape)
    return shares
