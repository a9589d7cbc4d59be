"""Compiled convolutions against the portable one, over random shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation import winograd, winograd_weights
from runtime.backends.cpu.correlation.correlation import Correlation, gathering
from runtime.backends.cpu.correlation.depthwise import Depthwise
from runtime.backends.cpu.correlation.direct import Direct
from runtime.backends.cpu.correlation.winograd import Winograd
from runtime.backends.cpu.correlation.winograd_scatter import WinogradScatter
from runtime.backends.cpu.correlation.winograd_weights import WinogradWeights
from runtime.backends.cpu.layers import convolution
from runtime.backends.cpu.layers.convolution import (
    backward_algorithms,
    forward_algorithms,
    weights_algorithm,
)
from tests.backends.cpu.oracle import EXAMPLES, PORTABLE, compare
from tests.layers.harness import LoneLayer

sizes = st.integers(1, 20)
small = st.integers(1, 5)


@st.composite
def convolutions(draw: Any, *, depthwise: bool = False) -> tuple[str, tuple[int, ...]]:
    if depthwise:
        group = channels = outputs = draw(st.integers(1, 40))
    else:
        group = draw(st.sampled_from([1, 1, 1, 2, 3]))
        channels, outputs = group * draw(st.integers(1, 40)), group * draw(sizes)
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dilation = draw(st.integers(1, 2))
    pad = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    least = [dilation * (k - 1) + 1 - 2 * p for k, p in zip(kernel, pad, strict=True)]
    height, width = (max(1, low) + draw(st.integers(0, 25)) for low in least)
    bias = draw(st.sampled_from(["true", "false"]))
    text = (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {outputs} group: {group} bias_term: {bias} dilation: {dilation} "
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} pad_h: {pad[0]} pad_w: {pad[1]} "
        f"stride_h: {stride[0]} stride_w: {stride[1]} }}"
    )
    return text, (draw(small), channels, height, width)


@EXAMPLES
@given(case=convolutions(), accumulate=st.booleans())
def test_convolution(case: tuple[str, tuple[int, ...]], accumulate: bool) -> None:
    text, shape = case
    compare(text, [shape], accumulate=accumulate)


@EXAMPLES
@given(case=convolutions(depthwise=True), accumulate=st.booleans())
def test_depthwise_convolution(
    case: tuple[str, tuple[int, ...]], accumulate: bool
) -> None:
    text, shape = case
    layer = compare(text, [shape], accumulate=accumulate)
    assert isinstance(layer.kernel.ahead[0], Depthwise)  # type: ignore[attr-defined]


@st.composite
def deconvolutions(draw: Any) -> tuple[str, tuple[int, ...]]:
    group = draw(st.sampled_from([1, 1, 2, 12]))
    multiple = 1 if group == 12 else draw(st.integers(1, 20))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = tuple(s + draw(st.integers(0, 3)) for s in stride)
    pad = tuple(min(draw(st.integers(0, 3)), (k - 1) // 2) for k in kernel)
    bias = draw(st.sampled_from(["true", "false"]))
    text = (
        'type: "Deconvolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {group * multiple} group: {group} bias_term: {bias} "
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} pad_h: {pad[0]} pad_w: {pad[1]} "
        f"stride_h: {stride[0]} stride_w: {stride[1]} }}"
    )
    channels = group * (1 if group == 12 else draw(st.integers(1, 20)))
    return text, (draw(small), channels, draw(sizes), draw(sizes))


@EXAMPLES
@given(case=deconvolutions(), accumulate=st.booleans())
def test_deconvolution(case: tuple[str, tuple[int, ...]], accumulate: bool) -> None:
    text, shape = case
    layer = compare(text, [shape], accumulate=accumulate)
    if "group: 12 " in text:
        assert isinstance(layer.kernel.ahead[0], Depthwise)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kernel", [3, 5])
@EXAMPLES
@given(
    batch=small,
    channels=st.integers(1, 40),
    outputs=st.integers(1, 70),
    pad=st.integers(0, 5),
    extra=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    accumulate=st.booleans(),
    shares=st.integers(1, 3),
    in_place=st.booleans(),
    block=st.sampled_from([3, 64]),
    whole=st.sampled_from([0, 1 << 16]),
)
def test_winograd_convolution(
    monkeypatch: pytest.MonkeyPatch,
    kernel: int,
    batch: int,
    channels: int,
    outputs: int,
    pad: int,
    extra: tuple[int, int],
    accumulate: bool,
    shares: int,
    in_place: bool,
    block: int,
    whole: int,
) -> None:
    def always(
        shapes: Sequence[Correlation], threads: int, *, constant: bool = False
    ) -> list[Any]:
        return [
            Winograd(shape, threads, constant, shares, in_place)
            if Winograd.suits(shape)
            else Direct(shape, threads, constant)
            for shape in shapes
        ]

    monkeypatch.setattr(convolution, "forward_algorithms", always)
    monkeypatch.setattr(convolution, "backward_algorithms", always)
    monkeypatch.setattr(convolution, "weights_algorithm", WinogradWeights)
    monkeypatch.setattr(winograd, "WEIGHTS_BLOCK", block)
    monkeypatch.setattr(winograd_weights, "WHOLE_PANEL", whole)
    monkeypatch.setattr(winograd_weights, "WHOLE_BLOCKS", 1)
    height, width = (max(1, kernel - 2 * pad) + more for more in extra)
    text = (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {outputs} kernel_size: {kernel} pad: {pad} }}"
    )
    layer = compare(
        text,
        [(batch, channels, height, width)],
        accumulate=accumulate,
        usual=(channels * kernel**2) ** 0.5,  # sums of so many products
    )
    assert isinstance(layer.kernel.ahead[0], Winograd)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kernel", [3, 5])
@EXAMPLES
@given(
    batch=st.integers(1, 30),
    channels=st.integers(1, 70),
    outputs=st.integers(1, 40),
    pad=st.integers(0, 5),
    extra=st.tuples(st.integers(0, 14), st.integers(0, 14)),
    accumulate=st.booleans(),
    shares=st.integers(1, 3),
)
def test_gradient_of_x_by_tiles_of_dy(
    monkeypatch: pytest.MonkeyPatch,
    kernel: int,
    batch: int,
    channels: int,
    outputs: int,
    pad: int,
    extra: tuple[int, int],
    accumulate: bool,
    shares: int,
) -> None:
    def wherever(shapes: Sequence[Correlation], threads: int) -> list[Any]:
        return [
            WinogradScatter(shape, threads, row_shares=shares)
            if WinogradScatter.suits(shape)
            else Direct(shape, threads)
            for shape in shapes
        ]

    monkeypatch.setattr(convolution, "backward_algorithms", wherever)
    height, width = (max(1, kernel - 2 * pad) + more for more in extra)
    text = (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {outputs} kernel_size: {kernel} pad: {pad} }}"
    )
    compare(
        text,
        [(batch, channels, height, width)],
        accumulate=accumulate,
        usual=(outputs * kernel**2) ** 0.5,  # sums of so many products
    )


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "pad", "scatter"),
    [
        ((64, 20, 12, 12), 50, 5, 0, True),
        ((16, 64, 14, 14), 64, 3, 0, True),
        ((16, 64, 14, 14), 64, 3, 1, False),  # dy has as many tiles as x
        ((2, 64, 58, 58), 64, 3, 0, False),  # an image is no strip
    ],
)
def test_tiles_of_dy_are_taken_where_they_are_fewer(
    shape: tuple[int, ...], outputs: int, kernel: int, pad: int, scatter: bool
) -> None:
    text = (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {outputs} kernel_size: {kernel} pad: {pad} }}"
    )
    layer = compare(text, [shape], usual=(outputs * kernel**2) ** 0.5)
    (algorithm,) = layer.kernel.behind  # type: ignore[attr-defined]
    assert isinstance(algorithm, WinogradScatter) == scatter
    again = [backward_algorithms([algorithm.shape], n)[0] for n in (1, 2, 7, 64)]
    assert {type(one) for one in again} == {type(algorithm)}


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "winograd"),
    [
        ((2, 64, 56, 56), 64, 3, True),
        ((4, 32, 28, 28), 96, 5, True),
        ((1, 3, 8, 8), 4, 3, False),  # too small to pay
        ((2, 64, 28, 28), 64, 1, False),
        ((2, 64, 28, 28), 64, 7, False),
    ],
)
def test_the_algorithm_of_a_convolution_is_chosen_by_shape(
    shape: tuple[int, ...], outputs: int, kernel: int, winograd: bool
) -> None:
    text = (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} }}"
    )
    layer = compare(text, [shape])
    algorithms = *layer.kernel.ahead, *layer.kernel.behind  # type: ignore[attr-defined]
    assert all(isinstance(algorithm, Winograd) == winograd for algorithm in algorithms)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize(
    ("channels", "outputs", "size"),
    [(64, 64, 56), (16, 24, 14), (256, 256, 14), (512, 512, 7), (3, 32, 32)],
)
def test_the_number_of_threads_decides_no_algorithm(
    channels: int, outputs: int, size: int, batch: int, constant: bool
) -> None:
    layer = LoneLayer(
        'name: "layer" type: "Convolution" bottom: "x" top: "y" '
        f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }}",
        [(batch, channels, size, size)],
        backend=PORTABLE,
    )
    shape = gathering(layer.op)
    threads = (1, 2, 7, 64)
    for algorithms in (
        [forward_algorithms([shape], n, constant=constant)[0] for n in threads],
        [weights_algorithm(shape, n) for n in threads],
    ):
        assert len({type(algorithm) for algorithm in algorithms}) == 1


@pytest.mark.parametrize(
    ("channels", "size", "shares"),
    [(512, 7, 2), (64, 56, 1)],  # many weights, few positions; and the reverse
)
def test_threads_share_the_rows_of_large_weights(
    channels: int, size: int, shares: int
) -> None:
    layer = LoneLayer(
        'name: "layer" type: "Convolution" bottom: "x" top: "y" '
        f"convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 }}",
        [(8, channels, size, size)],
        backend=PORTABLE,
    )
    (algorithm,) = forward_algorithms([gathering(layer.op)], 2)
    assert isinstance(algorithm, Winograd)
    assert algorithm.row_shares == shares
