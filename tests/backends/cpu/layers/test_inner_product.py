"""InnerProduct: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.layers.inner_product import MANY_IMAGES
from runtime.backends.cpu.machine.gemv import MOST_ROWS
from tests.backends.cpu.oracle import EXAMPLES, compare, numbers, results
from tests.layers.harness import LoneLayer


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


@EXAMPLES
@given(
    batch=st.integers(MANY_IMAGES, MANY_IMAGES + 40),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 70),
    transpose=st.booleans(),
    accumulate=st.booleans(),
)
def test_inner_product_of_many_rows(
    batch: int, inputs: int, outputs: int, transpose: bool, accumulate: bool
) -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { axis: 2 '
        f"num_output: {outputs} transpose: {str(transpose).lower()} }}"
    )
    compare(text, [(batch, 1, inputs)], accumulate=accumulate)


@EXAMPLES
@given(
    batch=st.integers(1, MOST_ROWS),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 150),
    transpose=st.booleans(),
    accumulate=st.booleans(),
)
def test_inner_product_of_few_rows(
    batch: int, inputs: int, outputs: int, transpose: bool, accumulate: bool
) -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { '
        f"num_output: {outputs} transpose: {str(transpose).lower()} }}"
    )
    compare(text, [(batch, inputs)], accumulate=accumulate)


@pytest.mark.parametrize("batch", [1, MOST_ROWS, 33, MANY_IMAGES + 3])
@pytest.mark.parametrize("transpose", ["true", "false"])
def test_bits_do_not_depend_on_threads(batch: int, transpose: str) -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { '
        f"num_output: 301 transpose: {transpose} }}"
    )
    shape = (batch, 501)
    made = []
    for threads in (1, 2, 5):
        backend = CpuBackend(threads)
        layer = LoneLayer(text, [shape], backend=backend, dtype="float32")
        made.append(results(layer, [numbers(shape, 1)], True))
    for other in made[1:]:
        for one, two in zip(made[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
