"""Activations against their definitions, written with `math` one value at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import runtime
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

WIDE = np.array([[-80.0, -12.5, -1e-4], [1e-4, 12.5, 80.0]])  # far into both tails


def each(function: Callable[..., float]):
    """Make a reference that applies `function(op, value)` to every value."""

    def reference(op, x):
        y = np.empty_like(x)
        for place in np.ndindex(x.shape):
            y[place] = function(op, float(x[place]))
        return y

    return reference


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@each
def sigmoid(op, x):
    return logistic(x)


@each
def tanh(op, x):
    return math.tanh(x)


@each
def power(op, x):
    return (op.shift + op.scale * x) ** op.power


@each
def elu(op, x):
    return x if x > 0 else op.alpha * (math.exp(x) - 1)


@each
def bnll(op, x):
    return math.log(1 + math.exp(x))


@each
def exponential(op, x):
    base = math.e if op.base == -1 else op.base
    return base ** (op.shift + op.scale * x)


@each
def logarithm(op, x):
    base = math.e if op.base == -1 else op.base
    return math.log(op.shift + op.scale * x, base)


@each
def clip(op, x):
    return min(max(x, op.min), op.max)


@each
def swish(op, x):
    return x * logistic(op.beta * x)


@each
def absolute(op, x):
    return abs(x)


@each
def threshold(op, x):
    return 1.0 if x > op.threshold else 0.0


ELU = 'type: "ELU" elu_param { alpha: 0.7 }'
EXP = 'type: "Exp" exp_param { base: 2.5 scale: -0.6 shift: 0.4 }'
EXP_E = 'type: "Exp" exp_param { scale: 1.3 shift: -0.2 }'
SWISH = 'type: "Swish" swish_param { beta: 1.7 }'
CLIP = 'type: "Clip" clip_param { min: -0.6 max: 0.9 }'


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ('type: "Sigmoid"', sigmoid),
        ('type: "TanH"', tanh),
        (ELU, elu),
        (ELU.replace("0.7", "-0.7"), elu),
        ('type: "BNLL"', bnll),
        (EXP, exponential),
        (EXP_E, exponential),
        (CLIP, clip),
        (SWISH, swish),
        ('type: "AbsVal"', absolute),
    ],
)
def test_values_and_gradients_follow_the_definition(
    backend: Backend, text: str, reference
) -> None:
    check_layer(text, [(3, 2, 5)], reference, backend=backend)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ('type: "Sigmoid"', sigmoid),
        ('type: "TanH"', tanh),
        (ELU, elu),
        (EXP, exponential),
    ],
)
def test_it_runs_in_place(backend: Backend, text: str, reference) -> None:
    text += ' bottom: "a" top: "a"'
    check_layer(text, [(4, 3)], reference, backend=backend)


@pytest.mark.parametrize(
    ("exponent", "scale", "shift"),
    [
        (2, 0.6, 0.3),
        (2, 0.6, 0),
        (3, -0.4, 5),
        (0.5, 0.3, 4),
        (-1, 0.5, 4),
        (-1.5, 0.4, 4.5),
        (1, -0.7, 0.2),
        (1, -0.7, 0),
        (0, 0.6, 0.3),
        (3, 0, 0.3),
    ],
)
def test_power_of_an_affine_function(
    backend: Backend, exponent: float, scale: float, shift: float
) -> None:
    text = (
        f'type: "Power" power_param {{ power: {exponent} scale: {scale} '
        f"shift: {shift} }}"
    )
    check_layer(text, [(3, 2, 4)], power, backend=backend)


@pytest.mark.parametrize(
    ("exponent", "shift", "value"),
    [
        (0, 0, 1),
        (-2, 0, math.inf),
        (0.5, -1, math.nan),
        (99, -1e9, -math.inf),
        (98, -1e9, math.inf),
    ],
)
def test_power_without_scale_is_a_constant(
    backend: Backend, exponent: float, shift: float, value: float
) -> None:
    text = f'type: "Power" power_param {{ power: {exponent} scale: 0 shift: {shift} }}'
    layer = LoneLayer(text, [(2, 3)], backend=backend)
    (y,) = layer.forward([np.ones((2, 3))])
    np.testing.assert_array_equal(y, np.full((2, 3), value))
    (dx,), _ = layer.backward([np.ones((2, 3))])
    assert dx is not None
    np.testing.assert_array_equal(dx, np.zeros((2, 3)))


def test_a_shift_that_is_too_large_for_exp_gives_infinity(backend: Backend) -> None:
    text = 'type: "Exp" exp_param { shift: 800 }'
    (y,) = LoneLayer(text, [(2, 3)], backend=backend).forward([np.ones((2, 3))])
    np.testing.assert_array_equal(y, np.full((2, 3), math.inf))


@pytest.mark.parametrize(("exponent", "slope"), [(3, 0), (2, 0), (1, 5)])
def test_the_slope_of_a_power_is_finite_where_the_base_is_zero(
    backend: Backend, exponent: int, slope: float
) -> None:
    text = f'type: "Power" power_param {{ power: {exponent} scale: 5 }}'
    layer = LoneLayer(text, [(1, 2)], backend=backend)
    layer.forward([np.zeros((1, 2))])
    (dx,), _ = layer.backward([np.ones((1, 2))])
    assert dx is not None
    np.testing.assert_array_equal(dx, [[slope, slope]])


@pytest.mark.parametrize(
    "param",
    ["base: 3.5 scale: 0.7 shift: 6", "scale: -0.4 shift: 5", "base: 0.5 shift: 9"],
)
def test_logarithm_of_an_affine_function(backend: Backend, param: str) -> None:
    text = f'type: "Log" log_param {{ {param} }}'
    check_layer(text, [(3, 2, 4)], logarithm, backend=backend)


def test_the_tails_neither_overflow_nor_lose_their_gradient(backend: Backend) -> None:
    for dtype in ("float32", "float64"):
        layer = LoneLayer('type: "BNLL"', [WIDE.shape], backend=backend, dtype=dtype)
        (y,) = layer.forward([WIDE])
        expected = [[math.log1p(math.exp(float(x))) for x in row] for row in WIDE]
        np.testing.assert_allclose(y, expected, rtol=1e-5)
        (dx,), _ = layer.backward([np.ones(WIDE.shape)])
        assert dx is not None
        np.testing.assert_allclose(dx[1], [0.500025, 0.9999963, 1], rtol=1e-6)
        layer = LoneLayer('type: "Sigmoid"', [WIDE.shape], backend=backend, dtype=dtype)
        (y,) = layer.forward([WIDE])
        np.testing.assert_allclose(
            y, [[logistic(float(x)) for x in row] for row in WIDE], rtol=1e-6, atol=1e-7
        )


def test_elu_at_exactly_zero_takes_the_exponential_side(backend: Backend) -> None:
    layer = LoneLayer(ELU, [(1, 3)], backend=backend)
    layer.forward([[[-0.0, 0.0, 1e-30]]])
    (dx,), _ = layer.backward([np.full((1, 3), 2.0)])
    assert dx is not None
    np.testing.assert_allclose(dx, [[1.4, 1.4, 2]], rtol=1e-6)


def test_the_gradient_passes_clip_at_both_bounds(backend: Backend) -> None:
    layer = LoneLayer(
        'type: "Clip" clip_param { min: -1 max: 2 }', [(1, 4)], backend=backend
    )
    (y,) = layer.forward([[[-1.0, 2.0, -1.5, 2.5]]])
    np.testing.assert_array_equal(y, [[-1, 2, -1, 2]])
    (dx,), _ = layer.backward([np.full((1, 4), 3.0)])
    assert dx is not None
    np.testing.assert_array_equal(dx, [[3, 3, 0, 0]])


def test_the_slope_of_the_absolute_value_is_zero_at_zero(backend: Backend) -> None:
    layer = LoneLayer('type: "AbsVal"', [(1, 3)], backend=backend)
    layer.forward([[[-4.0, 0.0, 4.0]]])
    (dx,), _ = layer.backward([np.full((1, 3), 3.0)])
    assert dx is not None
    np.testing.assert_array_equal(dx, [[-3, 0, 3]])


def test_threshold_is_strict(backend: Backend) -> None:
    text = 'type: "Threshold" threshold_param { threshold: 0.25 }'
    values = np.array([[0.25, 0.2500001, -3.0], [0.2, 0.3, 7.0]])
    check_layer(text, [values], threshold, backend=backend, gradient=False)


def prelu(op, x, slope):
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        a = slope if op.channel_shared else slope[place[1]]
        y[place] = x[place] if x[place] > 0 else a * x[place]
    return y


@pytest.mark.parametrize("place", ["", ' bottom: "a" top: "a"'])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (5, 3)])
@pytest.mark.parametrize("shared", ["false", "true"])
def test_prelu_learns_its_slope(
    backend: Backend, shape: tuple[int, ...], shared: str, place: str
) -> None:
    text = f'type: "PReLU" prelu_param {{ channel_shared: {shared} }}{place}'
    check_layer(text, [shape], prelu, backend=backend)


def test_prelu_at_exactly_zero_takes_the_learned_side(backend: Backend) -> None:
    layer = LoneLayer('type: "PReLU"', [(1, 2)], backend=backend)
    layer.forward([[[0.0, 3.0]]], [[0.5, 0.5]])
    (dx,), (slope,) = layer.backward([[[4.0, 4.0]]])
    np.testing.assert_array_equal(dx, [[2, 4]])
    np.testing.assert_array_equal(slope, [0, 0])


IN_PLACE = [
    ELU,
    ELU.replace("0.7", "-0.7"),
    EXP,
    SWISH,
    SWISH.replace("1.7", "-1.7"),
    CLIP,
    'type: "AbsVal"',
    'type: "BNLL"',
    'type: "Log" log_param { base: 0.6 scale: -0.5 shift: 9 }',
    'type: "Power" power_param { power: 3 scale: -0.5 shift: 0.3 }',
    'type: "Power" power_param { power: -1 scale: 0.5 shift: 9 }',
    'type: "PReLU" prelu_param { filler { value: -0.3 } }',
]


@pytest.mark.parametrize("text", IN_PLACE)
@pytest.mark.parametrize("below", ["data", "layer"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_in_place_is_that_of_a_top_of_its_own(
    backend: Backend, text: str, below: str, dtype: str
) -> None:
    found = []
    for top in ("x", "y"):
        first = "data" if below == "layer" else "x"
        affine = """layer { name: "affine" type: "Power" bottom: "data" top: "x"
            power_param { scale: 1.25 shift: 0.5 } }"""
        net = runtime.Net(
            f"""
            force_backward: true
            layer {{ name: "in" type: "Input" top: "{first}"
              input_param {{ shape {{ dim: 3 dim: 4 }} }} }}
            {affine if below == "layer" else ""}
            layer {{ name: "one" bottom: "x" top: "{top}" {text} }}
            layer {{ name: "loss" type: "Reduction" bottom: "{top}" top: "loss"
              loss_weight: 0.5 reduction_param {{ operation: SUMSQ }} }}
            """,
            runtime.TRAIN,
            backend=backend.name,
            dtype=dtype,
        )
        values = np.random.default_rng(5).normal(size=(3, 4))
        net.blobs[first].data[...] = values
        net.forward_backward()
        found.append(net.blobs[first].diff.copy())
    assert np.any(found[0])
    np.testing.assert_array_equal(found[0], found[1])
