"""Gradients of weights as products over positions, in blocks and chunks of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation import weights, weights_dots
from runtime.backends.cpu.correlation.correlation import gathering
from runtime.backends.cpu.correlation.weights import PositionProducts
from runtime.backends.cpu.correlation.weights_dots import PositionDots
from runtime.backends.cpu.layers import convolution
from runtime.backends.cpu.layers.convolution import weights_algorithm
from runtime.backends.cpu.machine.llvm import LANES
from tests.backends.cpu.correlation.test_pointwise import CPUS
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers
from tests.layers.harness import LoneLayer


def text_of(
    outputs: int, kernel: int = 1, stride: int = 1, pad: int = 0, group: int = 1
) -> str:
    return (
        'type: "Convolution" bottom: "x" top: "y" convolution_param { '
        f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} "
        f"group: {group} }}"
    )


@EXAMPLES
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 70), st.integers(1, 70)),
    plane=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=st.sampled_from([1, 1, 2, 3]),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    group=st.integers(1, 2),
    limits=st.tuples(*[st.sampled_from([32, 48, 10**6])] * 2),
    panel=st.sampled_from([5, 64, 192]),
    chunk=st.sampled_from([7, 50, 512]),
    accumulate=st.booleans(),
)
def test_blocks_and_chunks(
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, int, int],
    plane: tuple[int, int],
    kernel: int,
    stride: int,
    pad: int,
    group: int,
    limits: tuple[int, int],
    panel: int,
    chunk: int,
    accumulate: bool,
) -> None:
    monkeypatch.setattr(weights, "LEFT_BLOCK", limits[0])
    monkeypatch.setattr(weights, "RIGHT_BLOCK", limits[1])
    monkeypatch.setattr(weights, "PANEL_POSITIONS", panel)
    monkeypatch.setattr(weights, "CHUNK_POSITIONS", chunk)
    monkeypatch.setattr(convolution, "weights_algorithm", PositionProducts)
    images, channels, outputs = sizes
    height, width = (max(size, kernel) for size in plane)
    layer = compare(
        text_of(group * outputs, kernel, stride, pad, group),
        [(images, group * channels, height, width)],
        accumulate=accumulate,
    )
    algorithm: Any = layer.kernel
    assert isinstance(algorithm._weights, PositionProducts)


@EXAMPLES
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 20)),
    plane=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    group=st.integers(1, 3),
    positions=st.sampled_from([1, 100, 640]),
    chunk=st.sampled_from([7, 50, 512]),
    bias=st.booleans(),
    accumulate=st.booleans(),
)
def test_a_lane_for_every_position(
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, int, int],
    plane: tuple[int, int],
    kernel: int,
    stride: int,
    pad: int,
    group: int,
    positions: int,
    chunk: int,
    bias: bool,
    accumulate: bool,
) -> None:
    monkeypatch.setattr(weights_dots, "MOST_POSITIONS", positions)
    monkeypatch.setattr(weights, "CHUNK_POSITIONS", chunk)
    monkeypatch.setattr(convolution, "weights_algorithm", PositionDots)
    images, channels, outputs = sizes
    height, width = (max(size, kernel) for size in plane)
    text = text_of(group * outputs, kernel, stride, pad, group)
    if not bias:
        text = text.replace("num_output", "bias_term: false num_output")
    compare(text, [(images, group * channels, height, width)], accumulate=accumulate)


@EXAMPLES
@given(
    images=st.integers(1, 9),
    channels=st.integers(1, 6),
    outputs=st.integers(1, 20),
    lines=st.integers(1, 12),
    columns=st.integers(1, 5),
    odd=st.integers(0, 3),
    kernel=st.integers(1, 5),
    group=st.integers(1, 2),
    together=st.sampled_from([1, 300, 1280]),
    chunk=st.sampled_from([7, 50, 512]),
    strange=st.sampled_from([0.0, np.nan, np.inf]),
)
def test_rows_of_x_as_they_lie(
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    channels: int,
    outputs: int,
    lines: int,
    columns: int,
    odd: int,
    kernel: int,
    group: int,
    together: int,
    chunk: int,
    strange: float,
) -> None:
    """Planes of whole vectors, and others; what is read beside them does not count."""
    monkeypatch.setattr(weights_dots, "TOGETHER", together)
    monkeypatch.setattr(weights, "CHUNK_POSITIONS", chunk)
    sizes = lines + kernel - 1, columns * LANES + odd + kernel - 1
    text = text_of(group * outputs, kernel, group=group)
    shape = (images, group * channels, *sizes)
    layer = LoneLayer(f'name: "layer" {text}', [shape], backend=PORTABLE)
    found = []
    of = gathering(layer.op)
    for backend in CPUS:
        kinds = PositionDots, PositionProducts
        values = []
        for algorithm in [kind(of, backend.threads) for kind in kinds]:
            work = {
                name: backend.zeros((nbytes,), "uint8")
                for name, nbytes in algorithm.weights_scratch().items()
            }
            for scratch in work.values():
                scratch.view(np.uint8)[...] = 0xFF  # NaN
            x, dy = (
                backend.zeros(shape, "float32"),
                backend.zeros(layer.op.tops[0], "float32"),
            )
            x[...], dy[...] = numbers(shape, 1), numbers(dy.shape, 2)
            x[-1, -1, -1, -1] = x[0, 0, 0, 0] = strange
            dw = backend.zeros((of.weights,), "float32")
            dbias = backend.zeros((group * outputs,), "float32")
            calls = algorithm.weight_calls(work, x, dy, dw, dbias, (False, True))
            backend.runner(calls)()
            backend.check_fences()
            values += [dw.copy(), dbias.copy()]
        for got, want in zip(values[:2], values[2:], strict=True):
            size = np.abs(want[np.isfinite(want)]).max(initial=10)
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * size)
        found.append(b"".join(value.tobytes() for value in values[:2]))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "group", "dots"),
    [
        ((64, 1, 28, 28), 20, 5, 1, True),  # grey images
        ((8, 128, 28, 28), 128, 3, 32, True),  # groups of few channels
        ((100, 3, 36, 36), 32, 5, 1, True),
        ((8, 64, 28, 28), 64, 1, 1, False),
        ((8, 3, 64, 64), 64, 7, 1, False),
    ],
)
def test_lanes_for_positions_are_taken_where_weights_are_few(
    shape: tuple[int, ...], outputs: int, kernel: int, group: int, dots: bool
) -> None:
    layer = LoneLayer(
        f'name: "layer" {text_of(outputs, kernel, group=group)}',
        [shape],
        backend=PORTABLE,
    )
    found = [weights_algorithm(gathering(layer.op), n) for n in (1, 2, 64)]
    assert all(isinstance(one, PositionDots) == dots for one in found)
    if dots:
        assert len({(one._chunks, one._panel_positions) for one in found}) == 1  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:invalid value")  # of NumPy's product
@pytest.mark.parametrize(("channels", "outputs"), [(9, 21), (21, 9)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("algorithm", [PositionProducts, PositionDots])
def test_a_nan_reaches_the_weights_that_saw_it(
    monkeypatch: pytest.MonkeyPatch,
    algorithm: Any,
    channels: int,
    outputs: int,
    stride: int,
) -> None:
    monkeypatch.setattr(convolution, "weights_algorithm", algorithm)
    shape = (3, channels, 9, 11)
    layers = [
        LoneLayer(
            f'name: "layer" {text_of(outputs, stride=stride)}',
            [shape],
            backend=backend,
            dtype="float32",
        )
        for backend in (CPU, PORTABLE)
    ]
    x, dy = numbers(shape, 1), numbers(layers[0].op.tops[0], 2)
    x[1, 4, 2, 4] = np.nan
    x[2, 5, 1, 1] = np.inf  # between the positions of stride 2
    dy[0, 3, 1, 2] = np.inf
    params = [numbers(param.shape, 3) for param in layers[0].bound.params]
    results = []
    for layer in layers:
        layer.forward([x], params)
        results.append(layer.backward([dy])[1])
    for got, want in zip(*results, strict=True):
        assert got is not None
        assert want is not None
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 64])
@pytest.mark.parametrize(
    ("channels", "outputs", "size"), [(64, 256, 56), (2048, 512, 7), (3, 8, 300)]
)
def test_the_number_of_threads_divides_no_sum(
    batch: int, channels: int, outputs: int, size: int
) -> None:
    layer = LoneLayer(
        f'name: "layer" {text_of(outputs)}',
        [(batch, channels, size, size)],
        backend=PORTABLE,
    )
    shape = gathering(layer.op)
    found = [PositionProducts(shape, threads) for threads in (1, 2, 7)]
    assert len({(one._chunk_positions, *one._blocks.values()) for one in found}) == 1
