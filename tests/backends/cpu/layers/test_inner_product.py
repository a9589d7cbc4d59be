"""InnerProduct: compiled kernels against the portable ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from tests.backends.cpu.oracle import EXAMPLES, compare


@EXAMPLES
@given(
    batch=st.integers(1, 40),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 70),
    transpose=st.booleans(),
    accumulate=st.booleans(),
)
def test_inner_product(
    batch: int, inputs: int, outputs: int, transpose: bool, accumulate: bool
) -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { '
        f"num_output: {outputs} transpose: {str(transpose).lower()} }}"
    )
    compare(text, [(batch, inputs)], accumulate=accumulate)


def test_inner_product_with_many_terms() -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 37 }"
    )
    compare(text, [(3, 2500)], accumulate=True)
