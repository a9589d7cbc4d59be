"""ReLU, Eltwise, Concat, Slice, Split: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer

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


@pytest.mark.parametrize("slope", [0, 0.25])
@pytest.mark.parametrize("top", ["x", "y"])
def test_relu_of_what_is_no_number(slope: float, top: str) -> None:
    x = numbers((3, 47), 1)
    x[1, 3:20:2], x[2, 5] = np.nan, np.inf
    text = f'type: "ReLU" bottom: "x" top: "{top}" relu_param {{ negative_slope: '
    found = []
    for backend in (CPU, PORTABLE):
        layer = LoneLayer(
            f'name: "l" {text}{slope} }}', [x.shape], backend=backend, dtype="float32"
        )
        found.append(results(layer, [x], accumulate=False))
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
