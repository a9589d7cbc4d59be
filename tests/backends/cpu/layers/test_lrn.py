"""LRN: compiled kernels against the portable ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from tests.backends.cpu.oracle import EXAMPLES, compare

sizes = st.integers(1, 20)
small = st.integers(1, 5)


@EXAMPLES
@given(
    region=st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
    shape=st.tuples(small, st.integers(1, 20), sizes, sizes),
    size=st.sampled_from([1, 3, 5, 7]),
    beta=st.sampled_from([0.75, 0.5, 0.3]),
)
def test_lrn(region: str, shape: tuple[int, ...], size: int, beta: float) -> None:
    text = (
        'type: "LRN" bottom: "x" top: "y" lrn_param { '
        f"norm_region: {region} local_size: {size} alpha: 0.5 beta: {beta} }}"
    )
    compare(text, [shape])
