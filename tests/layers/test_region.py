"""Pooling of regions against loops over pixels and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

import netspec
from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

IMAGES = (2, 3, 9, 8)
# Image, x1, y1, x2, y2: plain, turned around, a point, over the rim, outside, halves.
REGIONS = np.array(
    [
        [0, 0, 0, 13, 11],
        [1, 9, 8, 4, 3],
        [1, 5, 5, 5, 5],
        [0.9, -9, 7, 30, 40],
        [1, -30, -40, -20, -22],
        [0, 3, 1, 8, 13],
        [1, 2.6, 4.4, 11.7, 12.2],
    ]
)


def c_round(value):
    return math.copysign(math.floor(abs(value) + 0.5), value)


def bin_of(part, start, side, size):
    begin = min(max(math.floor(part * side) + start, 0), size)
    end = min(max(math.ceil((part + 1) * side) + start, 0), size)
    return range(int(begin), int(end))


def roi_pooling(op, x, regions):
    y = np.zeros(op.tops[0])
    for r, (item, *corners) in enumerate(regions.reshape(-1, 5)):
        x1, y1, x2, y2 = corners
        pad_w, pad_h = (x2 - x1 + 1) * op.pad_ratio, (y2 - y1 + 1) * op.pad_ratio
        x1, y1, x2, y2 = (
            c_round(value * op.spatial_scale)
            for value in (x1 - pad_w, y1 - pad_h, x2 + pad_w, y2 + pad_h)
        )
        side_h = max(y2 - y1 + 1, 1) / op.pooled_h
        side_w = max(x2 - x1 + 1, 1) / op.pooled_w
        for _, c, i, j in np.ndindex(1, *y.shape[1:]):
            values = [
                x[int(item), c, row, column]
                for row in bin_of(i, y1, side_h, x.shape[2])
                for column in bin_of(j, x1, side_w, x.shape[3])
            ]
            y[r, c, i, j] = max(values, default=0)
    return y


@pytest.mark.parametrize(
    "options",
    [
        "pooled_h: 2 pooled_w: 4 spatial_scale: 0.5",
        "pooled_size: 3 spatial_scale: 0.6",
        "pooled_size: 2 pooled_size: 3",
        "pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 pad_ratio: 0.3",
    ],
)
def test_roi_pooling_is_the_maximum_of_every_part(
    backend: Backend, options: str
) -> None:
    text = f'type: "ROIPooling" roi_pooling_param {{ {options} }}'
    rng = np.random.default_rng(3)
    x = rng.permutation(np.prod(IMAGES)).reshape(IMAGES) / 50 - 4  # no two are equal
    check_layer(text, [x, REGIONS], roi_pooling, backend=backend)


def test_the_first_of_equal_maxima_gets_the_gradient(backend: Backend) -> None:
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 2 }'
    layer = LoneLayer(text, [(1, 2, 3, 4), (1, 5)], backend=backend, dtype="float32")
    (y,) = layer.forward([np.full((1, 2, 3, 4), 7), [[0, 0, 1, 3, 2]]])
    np.testing.assert_array_equal(y, np.full((1, 2, 1, 2), 7))
    (dx, _), _ = layer.backward([[[[[1, 2]], [[3, 4]]]]])
    assert dx is not None
    found = {tuple(place): dx[tuple(place)] for place in np.argwhere(dx)}
    assert found == {(0, 0, 1, 0): 1, (0, 0, 1, 2): 2, (0, 1, 1, 0): 3, (0, 1, 1, 2): 4}


def test_corners_are_scaled_and_rounded_in_float32(backend: Backend) -> None:
    # 0.7 is stored as 0.69999999; times 5 that is 3.4999999, which float32 has as 3.5.
    text = """type: "ROIPooling"
        roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 0.7 }"""
    x = np.arange(30.0).reshape(1, 1, 5, 6)
    for dtype, column in (("float32", 4), ("float64", 3)):
        layer = LoneLayer(text, [(1, 1, 5, 6), (1, 5)], backend=backend, dtype=dtype)
        (y,) = layer.forward([x, [[0, 0, 0, 5, 0]]])
        assert y.item() == column
        (y,) = layer.forward([-x, [[0, 5, 0, 5, 0]]])
        assert y.item() == -column


def psroi_pooling(op, x, regions):
    y, g = np.zeros(op.tops[0]), op.group_size
    for r, (item, *corners) in enumerate(regions.reshape(-1, 5)):
        x1, y1 = (c_round(value) * op.spatial_scale for value in corners[:2])
        x2, y2 = ((c_round(value) + 1) * op.spatial_scale for value in corners[2:])
        side_w, side_h = max(x2 - x1, 0.1) / g, max(y2 - y1, 0.1) / g
        for _, d, i, j in np.ndindex(1, *y.shape[1:]):
            rows = range(
                min(max(math.floor(i * side_h + y1), 0), x.shape[2]),
                min(max(math.ceil((i + 1) * side_h + y1), 0), x.shape[2]),
            )
            columns = range(
                min(max(math.floor(j * side_w + x1), 0), x.shape[3]),
                min(max(math.ceil((j + 1) * side_w + x1), 0), x.shape[3]),
            )
            plane = x[int(item), (d * g + i) * g + j]
            values = [plane[row, column] for row in rows for column in columns]
            if values:
                y[r, d, i, j] = sum(values) / len(values)
    return y


@pytest.mark.parametrize(("scale", "group", "outputs"), [(0.5, 2, 3), (0.25, 3, 2)])
def test_psroi_pooling_is_the_mean_of_channels_of_every_part(
    backend: Backend, scale: float, group: int, outputs: int
) -> None:
    text = f"""type: "PSROIPooling" psroi_pooling_param {{ spatial_scale: {scale}
        output_dim: {outputs} group_size: {group} }}"""
    images = (2, outputs * group**2, 9, 8)
    check_layer(text, [images, REGIONS], psroi_pooling, backend=backend)


def bilinear(plane, row, column):
    """The value between pixels; pixels outside count as 0."""
    total, top, left = 0.0, math.floor(row), math.floor(column)
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < plane.shape[0] and 0 <= j < plane.shape[1]:
                total += (1 - abs(row - i)) * (1 - abs(column - j)) * plane[i, j]
    return total


def clamped(plane, row, column):
    """The value between pixels as Mask R-CNN has it at the rim."""
    h, w = plane.shape
    if not (-1 <= row <= h and -1 <= column <= w):
        return 0.0
    return bilinear(plane, min(max(row, 0), h - 1), min(max(column, 0), w - 1))


def roi_align(op, x, regions):
    y, wanted = np.zeros(op.tops[0]), op.sampling_ratio
    for r, (item, *corners) in enumerate(regions.reshape(-1, 5)):
        x1, y1, x2, y2 = (value * op.spatial_scale for value in corners)
        side_w = max(x2 - x1, 1) / op.pooled_w
        side_h = max(y2 - y1, 1) / op.pooled_h
        down, along = wanted or math.ceil(side_h), wanted or math.ceil(side_w)
        for _, c, i, j in np.ndindex(1, *y.shape[1:]):
            values = [
                clamped(
                    x[int(item), c],
                    y1 + (i + (k + 0.5) / down) * side_h,
                    x1 + (j + (m + 0.5) / along) * side_w,
                )
                for k in range(down)
                for m in range(along)
            ]
            y[r, c, i, j] = sum(values) / len(values)
    return y


@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_roi_align_is_the_mean_of_samples(backend: Backend, ratio: int) -> None:
    text = f"""type: "ROIAlign" roi_align_param {{ pooled_h: 2 pooled_w: 3
        spatial_scale: 0.45 sampling_ratio: {ratio} }}"""
    check_layer(text, [IMAGES, REGIONS], roi_align, backend=backend)


def samples_between(begin, end, size):
    place, end = min(max(begin, 0.0), size), min(max(end, 0.0), size)
    while place < end:
        yield place
        place += 1


def roi_align_largest(op, x, regions):
    y = np.zeros(op.tops[0])
    for r, (item, *corners) in enumerate(regions.reshape(-1, 5)):
        x1, y1, x2, y2 = (value * op.spatial_scale for value in corners)
        side_w, side_h = (x2 - x1 + 1) / op.pooled_w, (y2 - y1 + 1) / op.pooled_h
        for _, c, i, j in np.ndindex(1, *y.shape[1:]):
            rows = samples_between(y1 + i * side_h, y1 + (i + 1) * side_h, x.shape[2])
            columns = list(
                samples_between(x1 + j * side_w, x1 + (j + 1) * side_w, x.shape[3])
            )
            values = [
                bilinear(x[int(item), c], row, column)
                for row in rows
                for column in columns
            ]
            y[r, c, i, j] = max(values, default=0)
    return y


def test_roi_align_without_a_ratio_is_the_largest_sample(backend: Backend) -> None:
    text = """type: "ROIAlign"
        roi_align_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.45 }"""
    with netspec.forks.use("rfcn-priv"):
        check_layer(text, [IMAGES, REGIONS], roi_align_largest, backend=backend)


KINDS = {
    "ROIPooling": "roi_pooling_param { pooled_h: 2 pooled_w: 3 }",
    "PSROIPooling": "psroi_pooling_param "
    "{ spatial_scale: 1 output_dim: 1 group_size: 2 }",
    "ROIAlign": "roi_align_param { pooled_h: 2 pooled_w: 3 sampling_ratio: 2 }",
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("region", "message"),
    [
        ([2, 0, 0, 3, 3], r"names image 2 in region 1; expected 0 to 1: the first v"),
        ([-1, 0, 0, 3, 3], r"bottom 1 \('rois'\) names image -1 in region 1"),
        ([0, 0, np.nan, 3, 3], "holds nan in region 1; expected coordinates in pixels"),
        ([0, 0, 0, 3, 1e30], r"holds 1e\+30 in region 1"),
    ],
)
def test_regions_that_cannot_be_are_refused(
    backend: Backend, kind: str, region: list[float], message: str, dtype: str
) -> None:
    text = f'name: "r" type: "{kind}" bottom: "x" bottom: "rois" {KINDS[kind]}'
    layer = LoneLayer(text, [(2, 4, 5, 6), (2, 5)], backend=backend, dtype=dtype)
    with pytest.raises(SpecError, match=rf"'r' \({kind}\): .*{message}"):
        layer.forward([np.zeros((2, 4, 5, 6)), [[0, 0, 0, 1, 1], region]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_region_is_no_item(backend: Backend, kind: str, dtype: str) -> None:
    text = f'type: "{kind}" {KINDS[kind]}'
    layer = LoneLayer(text, [(2, 4, 5, 6), (0, 5)], backend=backend, dtype=dtype)
    (y,) = layer.forward([np.ones((2, 4, 5, 6)), np.zeros((0, 5))])
    assert len(y) == 0
    (dx, _), _ = layer.backward([y])
    np.testing.assert_array_equal(dx, np.zeros((2, 4, 5, 6)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_in_a_part_is_its_maximum(backend: Backend, dtype: str) -> None:
    text = f'type: "ROIPooling" {KINDS["ROIPooling"]}'
    layer = LoneLayer(text, [(1, 2, 5, 6), (1, 5)], backend=backend, dtype=dtype)
    x = np.ones((1, 2, 5, 6))
    x[0, 1, 4, 0] = np.nan
    layer.forward([x, [[0, 0, 0, 5, 4]]])
    (y,) = layer.forward([x, [[0, 0, 0, 5, 4]]])
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 1, 1, 0]]
