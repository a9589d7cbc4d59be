"""ReLU against its definition."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import refuses

EDGES = np.array([[-2.5, -0.0, 0.0], [1e-30, 3.25, -1e-30]])


def leaky(op, x):
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        y[place] = x[place] if x[place] > 0 else op.negative_slope * x[place]
    return y


@pytest.mark.parametrize("slope", [0, 0.3, -0.4])
def test_values_and_gradients_follow_the_definition(
    backend: Backend, slope: float
) -> None:
    text = f'type: "ReLU" relu_param {{ negative_slope: {slope} }}'
    check_layer(text, [(2, 3, 5)], leaky, backend=backend)


@pytest.mark.parametrize("slope", [0, 0.3])
def test_it_runs_in_place(backend: Backend, slope: float) -> None:
    text = f'type: "ReLU" bottom: "a" top: "a" relu_param {{ negative_slope: {slope} }}'
    check_layer(text, [(4, 3)], leaky, backend=backend)


@pytest.mark.parametrize("slope", [0, 0.25, -0.25])
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


BELOW_ZERO = {
    'type: "ReLU" relu_param { negative_slope: -0.5 }': (
        lambda x: np.where(x > 0, x, -0.5 * x),
        lambda x: np.where(x > 0, 1, -0.5),
    ),
    'type: "ELU" elu_param { alpha: -0.7 }': (
        lambda x: np.where(x > 0, x, -0.7 * np.expm1(x)),
        lambda x: np.where(x > 0, 1, -0.7 * np.exp(x)),
    ),
}
LEAKY = (lambda x: np.where(x > 0, x, 0.25 * x), lambda x: np.where(x > 0, 1, 0.25))
LEAKY_TEXT = 'name: "leaky" type: "ReLU" relu_param { negative_slope: 0.25 }'
KINDS = [("portable", "float64"), ("portable", "float32"), ("numpy", "float32")]


def check_in_place(layers: list[str], functions: list, kind: tuple[str, str]) -> None:
    """Compare dw of an InnerProduct below layers in place with the chain rule."""
    above = "\n".join(f'layer {{ {one} bottom: "x" top: "x" }}' for one in layers)
    text = f"""
        layer {{ name: "in" type: "Input" top: "data"
          input_param {{ shape {{ dim: 4 dim: 3 }} }} }}
        layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "x"
          inner_product_param {{ num_output: 5
            weight_filler {{ type: "gaussian" std: 1 }} }} }}
        {above}
        layer {{ name: "loss" type: "Reduction" bottom: "x" top: "loss"
          loss_weight: 1 reduction_param {{ operation: SUMSQ }} }}
        """
    net = runtime.Net(text, runtime.TRAIN, backend=kind[0], dtype=kind[1])
    data = net.blobs["data"].data[...] = np.random.default_rng(3).normal(size=(4, 3))
    net.forward_backward()
    x = data @ np.asarray(net.params["ip"][0].data, float).T
    slope = np.ones_like(x)
    for function, derivative in functions:
        slope = slope * derivative(x)
        x = function(x)
    wanted = (2 * x * slope).T @ data
    got = net.params["ip"][0].diff
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", BELOW_ZERO)
@pytest.mark.parametrize("kind", KINDS)
def test_with_a_slope_below_zero_the_gradient_is_right_in_place(
    layer: str, kind: tuple[str, str]
) -> None:
    check_in_place([layer], [BELOW_ZERO[layer]], kind)


@pytest.mark.parametrize("layer", BELOW_ZERO)
@pytest.mark.parametrize("kind", KINDS)
def test_a_slope_below_zero_in_place_leaves_its_sign_to_the_relu_below(
    layer: str, kind: tuple[str, str]
) -> None:
    check_in_place([LEAKY_TEXT, layer], [LEAKY, BELOW_ZERO[layer]], kind)


def relu6(op, x):
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        v = x[place]
        y[place] = min(v, op.n) if v > 0 else op.negative_slope * v
    return y


@pytest.mark.parametrize("where", ["", 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("options", ["", "negative_slope: 0.25", "n: 0.75"])
def test_relu6_has_two_bounds(backend, where, options):
    text = f'type: "ReLU6" {where} relu6_param {{ {options} }}'
    x = np.random.default_rng(7).normal(size=(3, 4, 5)) * 6
    check_layer(text, [x], relu6, backend=backend)


def test_relu6_refuses():
    text = 'type: "ReLU6" relu6_param { %s }'
    refuses(text % "negative_slope: -1", (2, 3), match="negative_slope is -1; expected")
    refuses(text % "n: 0", (2, 3), match="n, the largest value, is 0; expected more")
