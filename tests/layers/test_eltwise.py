"""Eltwise against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


def join(op, *bottoms):
    y = np.empty_like(bottoms[0])
    for place in np.ndindex(y.shape):
        values = [x[place] for x in bottoms]
        if op.operation == "SUM":
            y[place] = sum(c * v for c, v in zip(op.coeff, values, strict=True))
        elif op.operation == "PROD":
            y[place] = np.prod(values)
        else:
            y[place] = max(values)
    return y


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    "param",
    [
        "operation: SUM",
        "operation: PROD",
        "operation: PROD stable_prod_grad: false",
        "operation: MAX",
    ],
)
def test_values_and_gradients_follow_the_definition(
    backend: Backend, param: str, count: int
) -> None:
    text = f'type: "Eltwise" eltwise_param {{ {param} }}'
    check_layer(text, [(2, 3, 4)] * count, join, backend=backend)


@pytest.mark.parametrize(
    "coeff", [(2, -0.5), (1, -1), (1, 1, 0.25), (-3, 1, 1), (0.5, 2, -1, 1)]
)
def test_a_sum_with_coefficients(backend: Backend, coeff: tuple[float, ...]) -> None:
    given = " ".join(f"coeff: {c}" for c in coeff)
    text = f'type: "Eltwise" eltwise_param {{ {given} }}'
    check_layer(text, [(2, 3, 4)] * len(coeff), join, backend=backend)


def gradients(backend: Backend, param: str, *bottoms) -> list[list[float]]:
    text = f'type: "Eltwise" eltwise_param {{ {param} }}'
    rows = [np.array([x]) for x in bottoms]
    layer = LoneLayer(text, [row.shape for row in rows], backend=backend)
    layer.forward(rows)
    found, _ = layer.backward([np.full(rows[0].shape, 8.0)])
    return [dx[0].tolist() for dx in found if dx is not None]


def test_on_a_tie_the_gradient_of_a_maximum_goes_to_input_1(backend: Backend) -> None:
    found = gradients(backend, "operation: MAX", [1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert found == [[0, 0, 8], [8, 8, 0]]


def test_a_later_input_must_be_strictly_greater(backend: Backend) -> None:
    found = gradients(
        backend, "operation: MAX", [5.0, 1.0, 1.0], [1.0, 5.0, 1.0], [5.0, 5.0, 6.0]
    )
    assert found == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]


def test_the_stable_gradient_of_a_product_survives_a_zero(backend: Backend) -> None:
    found = gradients(backend, "operation: PROD", [0.0, 2.0], [3.0, 5.0], [7.0, 1.0])
    assert found == [[168, 40], [0, 16], [0, 80]]


def test_the_unstable_gradient_of_a_product_divides_by_the_input(
    backend: Backend,
) -> None:
    param = "operation: PROD stable_prod_grad: false"
    with np.errstate(invalid="ignore"):
        found = gradients(backend, param, [0.0, 2.0], [3.0, 5.0])
    np.testing.assert_array_equal(found, [[np.nan, 40], [0, 16]])
