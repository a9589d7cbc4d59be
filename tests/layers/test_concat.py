"""Concat and Slice against loops over places."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


def joined(op, *bottoms):
    y = np.empty(op.tops[0])
    for place in np.ndindex(y.shape):
        index, which = place[op.axis], 0
        while index >= bottoms[which].shape[op.axis]:
            index -= bottoms[which].shape[op.axis]
            which += 1
        source = (*place[: op.axis], index, *place[op.axis + 1 :])
        y[place] = bottoms[which][source]
    return y


def cut(op, x):
    tops, start = [], 0
    for shape in op.tops:
        y = np.empty(shape)
        for place in np.ndindex(shape):
            source = list(place)
            source[op.axis] += start
            y[place] = x[tuple(source)]
        tops.append(y)
        start += shape[op.axis]
    return tuple(tops)


@pytest.mark.parametrize(
    ("param", "axis"),
    [("", 1), ("axis: 0", 0), ("axis: -1", 3), ("axis: 2", 2), ("concat_dim: 0", 0)],
)
def test_concat_joins_along_the_axis(backend: Backend, param: str, axis: int) -> None:
    shapes = []
    for size in (7, 1, 6):
        shape = [2, 3, 4, 5]
        shape[axis] = size
        shapes.append(tuple(shape))
    text = f'type: "Concat" concat_param {{ {param} }}'
    check_layer(text, shapes, joined, backend=backend)


def test_concat_of_one_blob_copies_it(backend: Backend) -> None:
    check_layer('type: "Concat"', [(2, 3, 4)], joined, backend=backend)


@pytest.mark.parametrize(
    ("param", "tops"),
    [
        ("axis: 0 slice_point: 1 slice_point: 4", 3),
        ("slice_point: 5", 2),
        ("axis: -1 slice_point: 2", 2),
        ("slice_dim: 0", 5),
        ("axis: 1", 3),
    ],
)
def test_slice_cuts_along_the_axis(backend: Backend, param: str, tops: int) -> None:
    names = " ".join(f'top: "t{index}"' for index in range(tops))
    text = f'type: "Slice" {names} slice_param {{ {param} }}'
    check_layer(text, [(5, 6, 4)], cut, backend=backend)


def test_a_slice_that_nothing_learns_from_has_gradient_zero(backend: Backend) -> None:
    text = 'type: "Slice" top: "a" top: "b" slice_param { slice_point: 2 }'
    layer = LoneLayer(text, [(2, 5)], backend=backend)
    kernel = layer.kernel
    kernel.dtops = (None, kernel.dtops[1])
    layer.forward([np.ones((2, 5))])
    (dx,), _ = layer.backward([np.zeros((2, 2)), np.full((2, 3), 4.0)])
    np.testing.assert_array_equal(dx, [[0, 0, 4, 4, 4]] * 2)
