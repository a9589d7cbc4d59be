"""Normalize against loops over places."""

from __future__ import annotations

import math

import numpy as np
import pytest

import netspec
from netspec.errors import ShapeError, SpecError, SpecWarning
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


def normalized(op, x, scale=1.0):
    flat = x.reshape(x.shape[0], x.shape[1], -1)
    y = np.empty_like(flat)
    for n, c, i in np.ndindex(flat.shape):
        vector = flat[n] if op.across_spatial else flat[n, :, i]
        length = math.sqrt(sum(v * v for v in vector.reshape(-1)) + op.eps)
        y[n, c, i] = flat[n, c, i] / length * (scale if op.channel_shared else scale[c])
    return y.reshape(x.shape)


@pytest.mark.parametrize("across", ["true", "false"])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_normalize(backend: Backend, across: str, shared: str) -> None:
    check_layer(
        f"""type: "Normalize" norm_param {{ across_spatial: {across}
            channel_shared: {shared} eps: 0.3 }}""",
        [(2, 3, 5, 4)],
        normalized,
        backend=backend,
    )


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4), (2, 3, 4, 5, 6), (37, 33, 19)])
def test_normalize_of_any_number_of_axes(
    backend: Backend, shape: tuple[int, ...]
) -> None:
    check_layer(
        'type: "Normalize" norm_param { across_spatial: false channel_shared: false }',
        [shape],
        normalized,
        backend=backend,
        gradient=math.prod(shape) < 1000,
    )


def test_in_place(backend: Backend) -> None:
    text = """type: "Normalize" bottom: "x" top: "x" norm_param {
        across_spatial: false channel_shared: false eps: 0.5 }"""
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 4))
    layer = LoneLayer(text, [x.shape], backend=backend)
    scale = np.array([2.0, -1.0, 0.5])
    (y,) = layer.forward([x], [scale])
    np.testing.assert_allclose(y, normalized(layer.op, x, scale), rtol=1e-10)


def test_bad_inputs_are_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match="at least 2 axes, items and channels"):
        LoneLayer('type: "Normalize"', [(3,)], backend=backend)
    with pytest.raises(SpecError, match=r"norm_param.eps is -1; it is added"):
        LoneLayer('type: "Normalize" norm_param { eps: -1 }', [(3, 4)], backend=backend)


@pytest.mark.parametrize("word", ["tsn", "ducha-aiki", "jule", "caffe-windows"])
def test_normalize_of_other_forks_learns_nothing(backend: Backend, word: str) -> None:
    with netspec.forks.use(word):
        check_layer('type: "Normalize"', [(2, 3, 5, 4)], normalized, backend=backend)
        op = LoneLayer('type: "Normalize"', [(2, 3, 5, 4)], backend=backend).op
        assert op.params == ()
        assert op.across_spatial is (word != "caffe-windows")
        with pytest.raises(SpecError, match="norm_param is of SSD's Normalize, and th"):
            LoneLayer('type: "Normalize" norm_param {}', [(3, 4)], backend=backend)


def test_normalize_that_may_be_of_any_fork_says_whose_it_is_taken_for(
    backend: Backend,
) -> None:
    with pytest.warns(SpecWarning, match="has no norm_param; taken for SSD's"):
        assert LoneLayer('type: "Normalize"', [(3, 4)], backend=backend).op.params
