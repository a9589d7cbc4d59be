"""Crop and Im2col: compiled kernels against the portable ones."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from tests.backends.cpu.oracle import EXAMPLES, compare

small = st.integers(1, 4)
sizes = st.integers(1, 20)


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=1, max_size=4),
    axis=st.integers(0, 3),
    data=st.data(),
)
def test_crop(shape: list[int], axis: int, data: st.DataObject) -> None:
    axis %= len(shape)
    offsets, part = [], shape[:axis]
    for size in shape[axis:]:
        offsets.append(data.draw(st.integers(0, size - 1)))
        part.append(data.draw(st.integers(1, size - offsets[-1])))
    text = " ".join(f"offset: {offset}" for offset in offsets)
    compare(
        'type: "Crop" bottom: "x" bottom: "like" top: "y" '
        f"crop_param {{ axis: {axis} {text} }}",
        [shape, part],
    )


@EXAMPLES
@given(
    n=small,
    c=small,
    height=sizes,
    width=sizes,
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    pad=st.tuples(small, small),
    dilation=st.integers(1, 2),
)
def test_im2col(
    n: int,
    c: int,
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: int,
) -> None:
    for size, taps, padding in zip((height, width), kernel, pad, strict=True):
        assume(size + 2 * (padding - 1) >= dilation * (taps - 1) + 1)
    param = (
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} "
        f"stride_w: {stride[1]} pad_h: {pad[0] - 1} pad_w: {pad[1] - 1} "
        f"dilation: {dilation}"
    )
    compare(f'type: "Im2col" convolution_param {{ {param} }}', [(n, c, height, width)])
