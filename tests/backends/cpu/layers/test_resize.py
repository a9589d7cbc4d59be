"""Interp, Upsample, ShuffleChannel, Axpy, ReLU6: compiled against portable kernels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from tests.backends.cpu.oracle import EXAMPLES, compare

sizes = st.integers(1, 24)
small = st.integers(1, 5)


@EXAMPLES
@given(
    shape=st.tuples(small, small, st.integers(3, 20), st.integers(3, 20)),
    size=st.tuples(sizes, sizes),
    cut=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_interp(
    shape: tuple[int, ...], size: tuple[int, int], cut: tuple[int, int]
) -> None:
    options = (
        f"height: {size[0]} width: {size[1]} pad_beg: {-cut[0]} pad_end: {-cut[1]}"
    )
    compare(f'type: "Interp" interp_param {{ {options} }}', [shape])


@EXAMPLES
@given(shape=st.tuples(small, small, sizes, sizes), scale=st.tuples(small, small))
def test_upsample(shape: tuple[int, ...], scale: tuple[int, int]) -> None:
    options = f"scale_h: {scale[0]} scale_w: {scale[1]}"
    compare(f'type: "Upsample" upsample_param {{ {options} }}', [shape])


@EXAMPLES
@given(
    shape=st.tuples(small, small, sizes, sizes), group=small, in_each=st.integers(1, 7)
)
def test_shuffle_channel(shape: tuple[int, ...], group: int, in_each: int) -> None:
    whole = (shape[0], group * in_each, *shape[2:])
    options = f"shuffle_channel_param {{ group: {group} }}"
    compare(f'type: "ShuffleChannel" {options}', [whole])


@EXAMPLES
@given(shape=st.tuples(small, sizes, sizes, sizes), flat=st.booleans())
def test_axpy(shape: tuple[int, ...], flat: bool) -> None:
    factors = shape[:2] if flat else (*shape[:2], 1, 1)
    compare('type: "Axpy"', [factors, shape, shape])


@EXAMPLES
@given(
    shape=st.tuples(small, sizes, sizes),
    slope=st.sampled_from([0, 0.25]),
    in_place=st.booleans(),
)
def test_relu6(shape: tuple[int, ...], slope: float, in_place: bool) -> None:
    top = "x" if in_place else "y"
    options = f"relu6_param {{ negative_slope: {slope} n: 0.75 }}"
    compare(f'type: "ReLU6" bottom: "x" top: "{top}" {options}', [shape])
