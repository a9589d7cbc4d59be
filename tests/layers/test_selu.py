"""SeLu, SeLuDropout and ReLUX against loops."""

import math

import numpy as np
import pytest

from netspec.schema import TEST
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import read, refuses

X = np.random.default_rng(3).normal(size=(3, 4, 7)) * 2


def selu(op, x):
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        value = x[place]
        y[place] = value if value > 0 else op.alpha * (math.exp(value) - 1)
    return op.factor * y


@pytest.mark.parametrize("options", ["", "selu_param { lambda: 0.7 alpha: 3 }"])
@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
def test_selu(backend, options, place):
    text = f'type: "SeLu" {place} {options}'
    check_layer(text, [X], selu, backend=backend, float32_rtol=2e-5)


def test_selu_keeps_mean_and_variance():
    op = read('type: "SeLu"', (3, 4))
    x = np.random.default_rng(5).normal(size=200_000)
    y = np.where(x > 0, op.factor * x, op.factor * op.alpha * np.expm1(x))
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02


def test_selu_refuses():
    for field in ("lambda", "alpha"):
        text = f'type: "SeLu" selu_param {{ {field}: -1 }}'
        match = f"selu_param.{field} is -1; expected a number above 0"
        refuses(text, (3, 4), match=match)


DROPS = 'type: "SeLuDropout" selu_dropout_param { dropout_ratio: 0.25 alpha: -1.5 }'


def test_selu_dropout_keeps_mean_and_variance(backend):
    layer = LoneLayer(DROPS, [(500, 400)], backend=backend)
    x = np.random.default_rng(4).normal(size=(500, 400))
    (y,) = layer.forward([x])
    keep = 0.75
    factor = 1 / math.sqrt(keep * (1 + 0.25 * 1.5**2))
    shift = factor * 0.25 * 1.5
    dropped = np.isclose(y, factor * -1.5 + shift, rtol=1e-12)
    assert abs(dropped.mean() - 0.25) < 0.005
    np.testing.assert_allclose(y[~dropped], factor * x[~dropped] + shift, atol=1e-12)
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.01
    dy = np.random.default_rng(6).normal(size=x.shape)
    (dx,), _ = layer.backward([dy])
    np.testing.assert_allclose(dx, np.where(dropped, 0, factor * dy), rtol=1e-12)


def test_selu_dropout_draws_anew_in_every_pass(backend):
    layer = LoneLayer(DROPS, [X.shape], backend=backend)
    (first,) = layer.forward([X])
    (again,) = layer.forward([X])
    layer.clock.value += 1
    (other,) = layer.forward([X])
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
def test_selu_dropout_has_the_gradient_of_its_mask(backend, place):
    layer = LoneLayer(f"{DROPS} {place}", [X.shape], backend=backend)
    (y,) = layer.forward([X])
    (moved,) = layer.forward([X + 1e-3])
    layer.forward([X])
    (dx,), _ = layer.backward([np.ones_like(X)])
    np.testing.assert_allclose(dx, (moved - y) / 1e-3, atol=1e-9)


def test_selu_dropout_does_nothing_in_test_or_without_a_ratio(backend):
    still = 'type: "SeLuDropout" selu_dropout_param { dropout_ratio: 0 }'
    check_layer(DROPS, [X], lambda op, x: x, backend=backend, phase=TEST)
    check_layer(still, [X], lambda op, x: x, backend=backend)


def test_selu_dropout_refuses():
    text = 'type: "SeLuDropout" selu_dropout_param { %s }'
    refuses(text % "dropout_ratio: 1", (3, 4), match="dropout_ratio is 1; expected")
    refuses(text % "dropout_ratio: -0.5", (3, 4), match="dropout_ratio is -0.5; exp")
    refuses(text % "alpha: inf", (3, 4), match="alpha is inf; expected a finite number")


def relux(op, x):
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        y[place] = min(max(x[place], 0), 1.5) + 0.25 * min(x[place], 0)
    return y


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
def test_relux(backend, place):
    options = "relux_param { negative_slope: 0.25 maximal_value: 1.5 }"
    check_layer(f'type: "ReLUX" {place} {options}', [X], relux, backend=backend)


def test_relux_is_six_by_default_and_refuses():
    op = read('type: "ReLUX"', (3, 4))
    assert (op.n, op.negative_slope) == (6, 0)
    text = 'type: "ReLUX" relux_param { %s }'
    refuses(text % "maximal_value: 0", (3, 4), match="maximal_value, the largest value")
    refuses(text % "negative_slope: -1", (3, 4), match="negative_slope is -1; expected")
