"""Layers that arrange values anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }', (2, 12)),
        ('type: "Flatten" flatten_param { axis: 0 end_axis: 1 }', (6, 4)),
    ],
)
def test_the_values_stay_under_another_shape(
    backend: Backend, text: str, shape: tuple[int, ...]
) -> None:
    check_layer(text, [(2, 3, 4)], lambda op, x: x.reshape(shape), backend=backend)


@pytest.mark.parametrize("tops", [1, 2, 4])
def test_split_adds_the_gradients_of_all_tops(backend: Backend, tops: int) -> None:
    names = " ".join(f'top: "x_split_{index}"' for index in range(tops))
    text = f'type: "Split" {names}'
    check_layer(text, [(2, 3, 4)], lambda op, x: (x,) * tops, backend=backend)


@pytest.mark.parametrize(
    ("without", "expected"), [((1,), 5), ((0, 1), 4), ((0, 1, 2), 0), ((), 7)]
)
def test_split_leaves_out_tops_without_a_gradient(
    backend: Backend, without: tuple[int, ...], expected: float
) -> None:
    text = 'type: "Split" top: "a" top: "b" top: "c"'
    layer = LoneLayer(text, [(2, 3)], backend=backend)
    left = tuple(
        None if index in without else dy for index, dy in enumerate(layer.bound.dtops)
    )
    layer.kernel.bind(replace(layer.bound, dtops=left))
    layer.forward([np.ones((2, 3))])
    (dx,), _ = layer.backward([np.full((2, 3), value) for value in (1.0, 2.0, 4.0)])
    np.testing.assert_array_equal(dx, np.full((2, 3), expected))


def test_silence_gives_gradients_of_zero(backend: Backend) -> None:
    layer = LoneLayer('type: "Silence"', [(2, 3), (4,)], backend=backend)
    assert layer.forward([np.ones((2, 3)), np.ones(4)]) == []
    dbottoms, _ = layer.backward([])
    for dx, shape in zip(dbottoms, [(2, 3), (4,)], strict=True):
        np.testing.assert_array_equal(dx, np.zeros(shape))
