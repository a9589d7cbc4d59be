"""Depthwise correlation straight from the image, against the portable kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation.correlation import gathering, scattering
from runtime.backends.cpu.correlation.depthwise_scatter import has_scatter_kernel
from runtime.backends.cpu.correlation.depthwise_windows import has_kernel
from runtime.backends.cpu.machine.llvm import LANES
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer


@st.composite
def usual(draw: Any) -> tuple[str, tuple[int, ...]]:
    channels, size = draw(st.integers(1, 9)), draw(st.sampled_from([3, 3, 5]))
    pad = draw(st.integers(0, size + 1)), draw(st.integers(0, size + 1))
    height, width = (max(1, size - 2 * p) + draw(st.integers(0, 50)) for p in pad)
    bias = draw(st.sampled_from(["true", "false"]))
    text = (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {channels} group: {channels} bias_term: {bias} "
        f"kernel_size: {size} stride: {draw(st.integers(1, 2))} "
        f"pad_h: {pad[0]} pad_w: {pad[1]} }}"
    )
    return text, (draw(st.integers(1, 4)), channels, height, width)


@EXAMPLES
@given(case=usual(), accumulate=st.booleans())
def test_usual_windows(case: tuple[str, tuple[int, ...]], accumulate: bool) -> None:
    text, shape = case
    layer = compare(text, [shape], accumulate=accumulate, usual=5.0)
    assert has_kernel([gathering(layer.op)]) == (LANES >= 8)


@pytest.mark.parametrize("width", [7, 33])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_stay_where_they_are(
    value: float, stride: int, width: int
) -> None:
    text = (
        'name: "layer" type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: 2 group: 2 kernel_size: 3 stride: {stride} pad: 1 }}"
    )
    x = numbers((2, 2, 9, width), 0)
    x[0, 1, 4, width // 2] = x[1, 0, 8, width - 1] = value
    found = [
        results(
            LoneLayer(text, [x.shape], backend=backend, dtype="float32"),
            [x],
            accumulate=False,
        )
        for backend in (CPU, PORTABLE)
    ]
    for got, want in zip(*found, strict=True):
        assert got is not None
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@EXAMPLES
@given(
    size=st.sampled_from([3, 4, 5]),
    channels=st.integers(1, 7),
    sizes=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    bias=st.sampled_from(["true", "false"]),
    seed=st.integers(0, 9),
)
def test_deconvolution_with_stride_2(
    size: int,
    channels: int,
    sizes: tuple[int, int],
    pad: tuple[int, int],
    bias: str,
    seed: int,
) -> None:
    text = (
        'type: "Deconvolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {channels} group: {channels} bias_term: {bias} "
        f"kernel_size: {size} stride: 2 pad_h: {pad[0]} pad_w: {pad[1]} }}"
    )
    shape = (2, channels, *sizes)
    layer = compare(text, [shape], bottoms=[numbers(shape, seed)], usual=5.0)
    odd = size != 5
    fits = all(one % 2 == odd for one in pad) and min(layer.op.tops[0][2:]) > 1
    fits = fits and LANES >= 8
    assert has_scatter_kernel(scattering(layer.op)) == fits


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_all_numbers_of_threads_give_the_same_bits(size: int, stride: int) -> None:
    text = (
        'name: "layer" type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: 13 group: 13 kernel_size: {size} stride: {stride} pad: 2 }}"
    )
    shape = (5, 13, 26, 37)
    found = []
    for threads in (1, 2, 3):
        backend = FencedBackend(threads)
        layer = LoneLayer(text, [shape], backend=backend, dtype="float32")
        found.append(results(layer, [numbers(shape, 0)], accumulate=False))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one is not None
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "other",
    [
        "kernel_size: 3 dilation: 2",
        "kernel_size: 4",
        "kernel_size: 3 stride_h: 1 stride_w: 2",
        "kernel_size: 3 stride: 3",
    ],
)
def test_other_windows_take_the_general_way(other: str) -> None:
    layer = LoneLayer(
        'name: "layer" type: "Convolution" bottom: "x" top: "y" '
        f"convolution_param {{ num_output: 4 group: 4 {other} }}",
        [(2, 4, 11, 12)],
        backend=PORTABLE,
    )
    assert not has_kernel([gathering(layer.op)])
