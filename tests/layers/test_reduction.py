"""Reduction and ArgMax against loops over places."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

VALUE: dict[str, Callable[[float], float]] = {
    "SUM": float,
    "MEAN": float,
    "ASUM": abs,
    "SUMSQ": lambda v: v * v,
}


def reduced(op, x):
    y = np.zeros(op.tops[0])
    for place in np.ndindex(x.shape):
        y[place[: op.axis]] += VALUE[op.operation](x[place])
    if op.operation == "MEAN":
        y /= math.prod(x.shape[op.axis :])
    return y * op.coeff


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("operation", ["SUM", "MEAN", "ASUM", "SUMSQ"])
def test_reduction_follows_the_definition(
    backend: Backend, operation: str, axis: int
) -> None:
    text = (
        f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} '
        f"coeff: -1.5 }}"
    )
    check_layer(text, [(2, 3, 5)], reduced, backend=backend)


def test_the_slope_of_an_absolute_sum_is_zero_at_zero(backend: Backend) -> None:
    text = 'type: "Reduction" reduction_param { operation: ASUM }'
    layer = LoneLayer(text, [(1, 3)], backend=backend)
    layer.forward([[[-1.0, 0.0, 2.0]]])
    (dx,), _ = layer.backward([3.0])
    np.testing.assert_array_equal(dx, [[-3, 0, 3]])


def largest(op, x):
    axis = op.axis
    rows = np.moveaxis(x, axis, -1) if axis is not None else x.reshape(len(x), -1)
    places = np.empty((*rows.shape[:-1], op.top_k))
    values = np.empty_like(places)
    for place in np.ndindex(rows.shape[:-1]):
        pairs = sorted(((v, k) for k, v in enumerate(rows[place])), reverse=True)
        values[place] = [v for v, _ in pairs[: op.top_k]]
        places[place] = [k for _, k in pairs[: op.top_k]]
    if axis is not None:
        return np.moveaxis(values if op.out_max_val else places, -1, axis)
    both = [places, values] if op.out_max_val else [places]
    return np.stack(both, axis=1).reshape(op.tops[0])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("out_max_val", ["false", "true"])
@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("axis", ["", "axis: 1", "axis: -1", "axis: 0"])
def test_argmax_finds_the_largest_in_order(
    backend: Backend, axis: str, top_k: int, out_max_val: str, ties: bool
) -> None:
    x = np.random.default_rng(4).normal(size=(5, 4, 3, 6))
    if ties:
        x = np.round(x)
    text = (
        f'type: "ArgMax" argmax_param {{ {axis} top_k: {top_k} '
        f"out_max_val: {out_max_val} }}"
    )
    check_layer(text, [x], largest, backend=backend, gradient=False)
