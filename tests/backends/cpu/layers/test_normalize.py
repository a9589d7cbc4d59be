"""Normalize: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.layers.normalize import Normalize
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer

TEXT = (
    'name: "l" type: "Normalize" bottom: "x" top: "y" norm_param {{ across_spatial: '
    "false channel_shared: {} eps: 0.01 scale_filler {{ value: 20 }} }}"
)


@EXAMPLES
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 700)),
    shared=st.booleans(),
    accumulate=st.booleans(),
    frozen=st.booleans(),
)
def test_normalize(
    shape: tuple[int, int, int], shared: bool, accumulate: bool, frozen: bool
) -> None:
    text = TEXT.format(str(shared).lower()) + (
        " param { lr_mult: 0 }" if frozen else ""
    )
    text = text.removeprefix('name: "l" ')
    layer = compare(text, [shape], accumulate=accumulate)
    assert isinstance(layer.kernel, Normalize)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 7), (3, 64, 19, 19)])
def test_every_shape_and_no_thread_changes_a_bit(shape) -> None:
    found = []
    for threads in (1, 2, 5):
        backend = FencedBackend(threads)
        layer = LoneLayer(
            TEXT.format("false"), [shape], backend=backend, dtype="float32"
        )
        found.append(results(layer, [numbers(shape, 1)], accumulate=False))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e30, 0.0, 1e-30])
def test_what_is_not_finite_comes_through(value) -> None:
    x = numbers((2, 5, 21), 3)
    x[1, :, 4] = value
    x[0, 2, 17] = value
    with np.errstate(all="ignore"):
        fast, slow = (
            results(
                LoneLayer(
                    TEXT.format("false"), [x.shape], backend=backend, dtype="float32"
                ),
                [x],
                accumulate=True,
            )
            for backend in (CPU, PORTABLE)
        )
    for got, want in zip(fast, slow, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
