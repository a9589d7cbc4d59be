"""ReLU against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

EDGES = np.array([[-2.5, -0.0, 0.0], [1e-30, 3.25, -1e-30]])


def leaky(op, x):
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        y[place] = x[place] if x[place] > 0 else op.negative_slope * x[place]
    return y


@pytest.mark.parametrize("slope", [0, 0.3])
def test_values_and_gradients_follow_the_definition(
    backend: Backend, slope: float
) -> None:
    text = f'type: "ReLU" relu_param {{ negative_slope: {slope} }}'
    check_layer(text, [(2, 3, 5)], leaky, backend=backend)


@pytest.mark.parametrize("slope", [0, 0.3])
def test_it_runs_in_place(backend: Backend, slope: float) -> None:
    text = f'type: "ReLU" bottom: "a" top: "a" relu_param {{ negative_slope: {slope} }}'
    check_layer(text, [(4, 3)], leaky, backend=backend)


@pytest.mark.parametrize("slope", [0, 0.25])
def test_at_exactly_zero_the_negative_side_counts(
    backend: Backend, slope: float
) -> None:
    text = f'type: "ReLU" relu_param {{ negative_slope: {slope} }}'
    layer = LoneLayer(text, [EDGES.shape], backend=backend)
    layer.forward([EDGES])
    (dx,), _ = layer.backward([np.full(EDGES.shape, 8.0)])
    assert dx is not None
    s = 8 * slope
    np.testing.assert_array_equal(dx, [[s, s, s], [8, 8, s]])
