"""Correlations of few channels against packed panels: sums have the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation import direct, kept_rows
from runtime.backends.cpu.correlation.correlation import Correlation, gathering
from runtime.backends.cpu.correlation.direct import Direct
from runtime.backends.cpu.correlation.kept_rows import KeptRows
from runtime.backends.cpu.correlation.kept_rows_code import PIECES
from runtime.backends.cpu.layers import convolution
from runtime.backends.cpu.layers.convolution import forward_algorithms
from runtime.backends.cpu.machine.llvm import LANES
from tests.backends.cpu.correlation.test_pointwise import CPUS, STRANGE, computed
from tests.backends.cpu.oracle import EXAMPLES, PORTABLE, compare
from tests.layers.harness import LoneLayer

KERNELS = st.tuples(st.integers(1, 5), st.integers(1, 5)).filter(lambda k: k != (1, 1))
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))
EVERY = 1 if PIECES > 1 else LANES  # columns are a multiple of it
PADS = st.tuples(st.integers(0, 3), st.integers(0, 3))


def text_of(outputs: int, **options: Any) -> str:
    said = [f"num_output: {outputs}"]
    for name, value in options.items():
        if isinstance(value, tuple):
            said += [f"{name}_h: {value[0]} {name}_w: {value[1]}"]
        else:
            said += [f"{name}: {value}"]
    inside = " ".join(said)
    return f'type: "Convolution" bottom: "x" top: "y" convolution_param {{ {inside} }}'


def shape_of(text: str, shape: tuple[int, ...]) -> Correlation:
    layer = LoneLayer(f'name: "layer" {text}', [shape], backend=PORTABLE)
    return gathering(layer.op)


@EXAMPLES
@given(
    images=st.integers(1, 3),
    groups=st.sampled_from([1, 1, 2]),
    channels=st.integers(1, 5),
    rows=st.integers(5, 40),
    lines=st.integers(1, 12),
    columns=st.integers(LANES, 4 * LANES + 3).filter(lambda n: n % EVERY == 0),
    kernel=KERNELS,
    stride=PAIRS,
    pad=PADS,
    dilation=st.integers(1, 2),
    given=st.tuples(*[st.booleans()] * 2),
    floor=st.sampled_from([0.0, -np.inf]),
    strange=st.sampled_from(STRANGE),
    past_caches=st.booleans(),
    kept_bytes=st.sampled_from([0, 3000, 1 << 15]),
    widths=st.sampled_from([1, 8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_bits_are_those_of_packed_panels(
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    groups: int,
    channels: int,
    rows: int,
    lines: int,
    columns: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: int,
    given: tuple[bool, ...],
    floor: float,
    strange: float,
    past_caches: bool,
    kept_bytes: int,
    widths: int,
    seed: int,
) -> None:
    monkeypatch.setattr(direct, "STREAMED_BYTES", 0 if past_caches else 1 << 24)
    monkeypatch.setattr(kept_rows, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(kept_rows, "FEWEST_WIDTHS", widths)
    height, width = (
        (out - 1) * step + (size - 1) * dilation + 1 - 2 * at_edge
        for out, step, size, at_edge in zip(
            (lines, columns), stride, kernel, pad, strict=True
        )
    )
    assume(min(height, width) > 0)
    text = text_of(
        groups * rows,
        kernel=kernel,
        stride=stride,
        pad=pad,
        dilation=dilation,
        group=groups,
    )
    sizes = (images, groups * channels, height, width)
    shape = shape_of(text, sizes)
    assert KeptRows.suits(shape)
    draw = np.random.default_rng(seed).standard_normal
    x = draw(sizes).astype(np.float32)
    x.reshape(-1)[seed % x.size] = strange
    values = {
        "x": x,
        "w": draw(shape.weights).astype(np.float32),
        "bias": draw(groups * rows).astype(np.float32) if given[0] else None,
        "scale": draw(groups * rows).astype(np.float32) if given[1] else None,
        "added": None,
    }
    want = computed(Direct(shape, 1), CPUS[0], values, floor)
    for backend in CPUS:
        found = computed(KeptRows(shape, backend.threads), backend, values, floor)
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((5, 1, 28, 28), {"kernel_size": 5}),
        ((2, 3, 40, 63), {"kernel_size": 3, "stride": 2, "pad": 1}),
        ((2, 3, 95, 135), {"kernel_size": 11, "stride": 4}),
        ((2, 6, 19, 34), {"kernel_size": 3, "group": 2, "bias_term": "false"}),
    ],
)
def test_layers(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], options: dict[str, Any]
) -> None:
    def few(shapes: Any, threads: int, **_: Any) -> list[KeptRows | Direct]:
        return [
            KeptRows(shape, threads)
            if KeptRows.suits(shape)
            else Direct(shape, threads)
            for shape in shapes
        ]

    monkeypatch.setattr(convolution, "forward_algorithms", few)
    layer: Any = compare(text_of(20, **options), [sizes])
    assert isinstance(layer.kernel.ahead[0], KeptRows)


@pytest.mark.parametrize(
    ("sizes", "outputs", "options", "kept"),
    [
        ((64, 1, 28, 28), 20, {"kernel_size": 5}, True),
        ((16, 3, 224, 224), 32, {"kernel_size": 3, "stride": 2, "pad": 1}, True),
        ((32, 3, 227, 227), 96, {"kernel_size": 11, "stride": 4}, PIECES > 1),
        ((32, 64, 56, 56), 64, {"kernel_size": 3, "stride": 2, "pad": 1}, False),
        ((32, 16, 56, 56), 64, {"kernel_size": 1}, False),
        ((32, 3, 224, 224), 64, {"kernel_size": 16, "stride": 16}, False),
    ],
)
def test_where_it_is_taken(
    sizes: tuple[int, ...], outputs: int, options: dict[str, Any], kept: bool
) -> None:
    shape = shape_of(text_of(outputs, **options), sizes)
    for threads in (1, 2, 64):
        (found,) = forward_algorithms([shape], threads)
        assert isinstance(found, KeptRows) == kept
