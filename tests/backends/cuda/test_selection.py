"""Crop, Tile and ArgMax on the device against the portable kernels."""

import numpy as np
import pytest

from runtime.backends.cuda.converted import Converted
from runtime.backends.cuda.layers.selection import ArgMax, Crop, Tile
from tests.backends.cuda.oracle import check_own
from tests.layers.harness import LoneLayer

PRECISIONS = ["float32", "bf16"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "shape, part, param",
    [
        ((2, 3, 9, 8), (2, 3, 4, 5), "offset: 2 offset: 3"),
        ((2, 8, 9, 8), (2, 8, 9, 8), ""),
        ((2, 8, 9, 7), (2, 8, 1, 6), "offset: 8 offset: 1"),
        ((3, 8, 5, 7), (2, 4, 5, 6), "axis: 0 offset: 1 offset: 4 offset: 0 offset: 1"),
        ((2, 12, 5), (2, 4, 3), "axis: 1 offset: 8 offset: 2"),
        ((6, 8), (4, 4), "axis: 0 offset: 1 offset: 4"),
        ((9,), (4,), "axis: 0 offset: 5"),
        ((2, 3, 70, 41), (2, 3, 33, 40), "offset: 1"),
        ((2, 3, 4, 5), (2, 3, 0, 5), ""),
    ],
)
def test_crop(cuda, shape, part, param, precision):
    text = f'type: "Crop" crop_param {{ {param} }}'
    for order in ("last", None):
        check_own(
            cuda,
            text,
            [shape, part],
            precision=precision,
            own=Crop,
            order=order,
            tolerance=1e-7,
        )


def test_a_crop_of_five_axes_runs_on_the_portable_kernel(cuda):
    text = 'type: "Crop" crop_param { offset: 1 }'
    shapes = [(2, 2, 4, 4, 4), (2, 2, 3, 3, 3)]
    layer = LoneLayer(text, shapes, backend=cuda, dtype="float32")
    assert isinstance(layer.kernel, Converted)
    assert not isinstance(layer.kernel.inner, Crop)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tiles", [1, 2, 5])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_tile(cuda, axis, tiles, precision):
    text = f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}'
    for shape in [(2, 3, 4, 5), (3, 8, 2, 8)]:
        for order in ("last", None):
            check_own(
                cuda, text, [shape], precision=precision, own=Tile, order=order, runs=2
            )


def test_tile_of_other_shapes(cuda):
    text = 'type: "Tile" tile_param { axis: 0 tiles: 3 }'
    for shape in [(5,), (0, 4), (40, 41)]:
        check_own(cuda, text, [shape], own=Tile)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("values", ["false", "true"])
@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize(
    "shape, axis",
    [
        ((5, 7), None),
        ((2, 3, 4, 5), None),
        ((3, 300), None),
        ((5, 7), 1),
        ((2, 70), 1),
        ((2, 9, 4, 5), 1),
        ((2, 70, 2, 3), 1),
        ((4, 3, 5, 2), 0),
        ((2, 3, 5, 4), 2),
        ((0, 4), 1),
    ],
)
def test_argmax(cuda, shape, axis, top_k, values, precision):
    rng = np.random.default_rng(4)
    x = np.rint(rng.normal(size=shape) * 2) / 2  # with ties
    where = "" if axis is None else f"axis: {axis}"
    text = (
        f'type: "ArgMax" argmax_param {{ {where} top_k: {top_k} '
        f"out_max_val: {values} }}"
    )
    for order in ("last", None):
        check_own(cuda, text, [x], precision=precision, own=ArgMax, order=order, runs=2)


@pytest.mark.parametrize("size", [6, 100])
def test_argmax_of_infinities_and_nan(cuda, size):
    x = np.random.default_rng(4).normal(size=(4, size)).astype("float32")
    x[0, 4], x[1, :3], x[2], x[3, 2] = np.inf, -np.inf, -np.inf, np.nan
    text = 'type: "ArgMax" argmax_param { axis: 1 }'
    layer = LoneLayer(text, [x.shape], backend=cuda, dtype="float32")
    (y,) = layer.forward([x])
    assert y[0] == 4
    assert y[1] == 3 + x[1, 3:].argmax()
    assert y[2] == size - 1  # of equal values the last one
    assert y[3] == 0
