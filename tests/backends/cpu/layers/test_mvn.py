"""MVN: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.layers.mvn import MVN
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer

TEXT = 'type: "MVN" bottom: "x" top: "{}" mvn_param {{ {} }}'
NAMED = 'name: "l" ' + TEXT


@EXAMPLES
@given(
    shape=st.tuples(
        st.integers(1, 3), st.integers(1, 5), st.integers(1, 50), st.integers(1, 90)
    ),
    across=st.booleans(),
    variance=st.booleans(),
    in_place=st.booleans(),
    shift=st.sampled_from([0.0, 1000.0]),
)
def test_mvn(
    shape: tuple[int, ...], across: bool, variance: bool, in_place: bool, shift: float
) -> None:
    words = [str(value).lower() for value in (across, variance)]
    param = f"across_channels: {words[0]} normalize_variance: {words[1]} eps: 0.01"
    text = TEXT.format("x" if in_place else "y", param)
    x = numbers(shape, 0) + np.float32(shift)
    # The mean of large values has the digits of a float, on either side.
    layer = compare(text, [shape], bottoms=[x], usual=1 if shift == 0 else 30)
    assert isinstance(layer.kernel, MVN)


@pytest.mark.parametrize("across", ["true", "false"])
def test_no_number_of_threads_changes_a_bit(across: str) -> None:
    text = NAMED.format("y", f"across_channels: {across}")
    shape, found = (3, 7, 61, 53), []
    for threads in (1, 2, 5):
        backend = FencedBackend(threads)
        layer = LoneLayer(text, [shape], backend=backend, dtype="float32")
        found.append(results(layer, [numbers(shape, 1)], accumulate=False))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 0.0])
def test_what_is_not_finite_comes_through(value: float) -> None:
    x = numbers((2, 3, 7, 11), 3)
    x[1, 2, 4, 5] = value
    if abs(value) != 1e30:  # whose mean has no digits for what is equal
        x[0, 1] = value
    found = []
    with np.errstate(all="ignore"):
        for backend in (CPU, PORTABLE):
            text = NAMED.format("y", "eps: 0.01")
            layer = LoneLayer(text, [x.shape], backend=backend, dtype="float32")
            found.append(results(layer, [x], accumulate=False))
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
