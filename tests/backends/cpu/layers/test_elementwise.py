"""ReLU, Eltwise, Concat, Slice, Split: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from tests.backends.cpu.oracle import EXAMPLES, compare, numbers

sizes = st.integers(1, 20)
small = st.integers(1, 5)


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=1, max_size=4),
    slope=st.sampled_from([0, 0.1]),
    in_place=st.booleans(),
)
def test_relu(shape: list[int], slope: float, in_place: bool) -> None:
    top = "x" if in_place else "y"
    param = f"relu_param {{ negative_slope: {slope} }}"
    compare(f'type: "ReLU" bottom: "x" top: "{top}" {param}', [shape])


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=1, max_size=3),
    coefficients=st.lists(st.sampled_from([1, 1, -2]), min_size=2, max_size=7),
)
def test_eltwise_sum(shape: list[int], coefficients: list[int]) -> None:
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(coefficients)))
    coeff = " ".join(f"coeff: {c}" for c in coefficients)
    text = f'type: "Eltwise" {bottoms} top: "y" eltwise_param {{ {coeff} }}'
    compare(text, [shape] * len(coefficients))


@EXAMPLES
@given(
    outer=small,
    widths=st.lists(sizes, min_size=2, max_size=4),
    inner=sizes,
    kind=st.sampled_from(["Concat", "Slice"]),
)
def test_concat_and_slice(outer: int, widths: list[int], inner: int, kind: str) -> None:
    names = [f"x{i}" for i in range(len(widths))]
    if kind == "Concat":
        text = " ".join(f'bottom: "{name}"' for name in names)
        text = f'type: "Concat" {text} top: "y"'
        compare(text, [(outer, width, inner) for width in widths])
        return
    points = np.cumsum(widths)[:-1]
    text = " ".join(f'top: "{name}"' for name in names)
    cuts = " ".join(f"slice_point: {point}" for point in points)
    text = f'type: "Slice" bottom: "y" {text} slice_param {{ {cuts} }}'
    compare(text, [(outer, sum(widths), inner)])


@EXAMPLES
@given(shape=st.lists(sizes, min_size=1, max_size=3), tops=st.integers(1, 9))
def test_split(shape: list[int], tops: int) -> None:
    text = " ".join(f'top: "x_{i}"' for i in range(tops))
    compare(f'type: "Split" bottom: "x" {text}', [shape])


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=1, max_size=3),
    inputs=st.integers(2, 5),
    operation=st.sampled_from(["PROD", "MAX"]),
    stable=st.booleans(),
    strange=st.booleans(),
)
def test_eltwise_product_and_maximum(
    shape: list[int], inputs: int, operation: str, stable: bool, strange: bool
) -> None:
    names = " ".join(f'bottom: "x{index}"' for index in range(inputs))
    param = f"operation: {operation} stable_prod_grad: {str(stable).lower()}"
    # Whole numbers, of which many are equal.
    bottoms = [np.round(2 * numbers(shape, index)) for index in range(inputs)]
    if operation == "PROD":
        bottoms = [one / 4 + np.float32(0.7) for one in bottoms]
    elif strange:
        for index, one in enumerate(bottoms):
            one.reshape(-1)[1 + index :: 5] = np.nan
    text = f'type: "Eltwise" {names} top: "y" eltwise_param {{ {param} }}'
    compare(text, [shape] * inputs, bottoms=bottoms)
