"""InnerProduct and Embed against nested loops."""

import numpy as np
import pytest

from runtime.layers import inner_product as kernels
from tests.layers.harness import LoneLayer, allocated_bytes, check_layer


def multiply(op, x, w, b=None):
    rows = x.reshape(int(np.prod(x.shape[: op.axis])), -1)
    y = np.zeros((len(rows), op.num_output))
    for m, n in np.ndindex(y.shape):
        y[m, n] = 0.0 if b is None else b[n]
        for k in range(rows.shape[1]):
            y[m, n] += rows[m, k] * (w[k, n] if op.transpose else w[n, k])
    return y.reshape(op.tops[0])


def look_up(op, x, w, b=None):
    y = np.zeros(op.tops[0])
    for place in np.ndindex(x.shape):
        y[place] = w[int(x[place])] + (0 if b is None else b)
    return y


@pytest.mark.parametrize("transpose", ["true", "false"])
@pytest.mark.parametrize("bias", ["true", "false"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_inner_product_multiplies_the_flattened_axes(backend, transpose, bias, axis):
    text = (
        f'type: "InnerProduct" inner_product_param {{ num_output: 5 axis: {axis} '
        f"transpose: {transpose} bias_term: {bias} }}"
    )
    check_layer(text, [(2, 3, 4)], multiply, backend=backend)


@pytest.mark.parametrize("transpose", ["true", "false"])
def test_gradient_is_added_a_block_of_rows_at_a_time(backend, monkeypatch, transpose):
    monkeypatch.setattr(kernels, "ADDED_ELEMENTS", 20)
    text = (
        'type: "InnerProduct" inner_product_param { num_output: 7 '
        f"transpose: {transpose} }}"
    )
    check_layer(text, [(3, 6)], multiply, backend=backend)


@pytest.mark.parametrize("bias", ["true", "false"])
def test_embed_looks_rows_up(backend, bias):
    text = (
        f'type: "Embed" embed_param {{ num_output: 3 input_dim: 7 bias_term: {bias} }}'
    )
    x = np.array([[5, 0, 5, 2], [6, 5, 1, 0]])  # with repeated indices
    check_layer(text, [x], look_up, backend=backend)


def test_indices_out_of_range_take_the_nearest_row(backend):
    text = 'type: "Embed" embed_param { num_output: 2 input_dim: 3 bias_term: false }'
    layer = LoneLayer(text, [(4,)], backend=backend)
    weights = np.arange(6.0).reshape(3, 2)
    (y,) = layer.forward([[-2, 1.9, 2, 8]], [weights])
    np.testing.assert_array_equal(y, weights[[0, 1, 2, 2]])


@pytest.mark.parametrize("transpose", ["true", "false"])
def test_steps_allocate_nothing(backend, transpose):
    text = (
        'type: "InnerProduct" inner_product_param { num_output: 300 '
        f"transpose: {transpose} }}"
    )
    assert allocated_bytes(text, [(40, 200)], backend=backend) < 4096
    text = 'type: "Embed" embed_param { num_output: 30 input_dim: 70 }'
    assert allocated_bytes(text, [(40, 50)], backend=backend) < 8192  # of 0.5 MB
