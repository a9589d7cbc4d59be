"""Packed weights of direct correlation against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation.packing_weights import pack_weights
from runtime.backends.cpu.machine.llvm import ROWS
from runtime.backends.cpu.machine.thread_pool import Program, ThreadPool
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import EXAMPLES, numbers

FENCED = FencedBackend(threads=1)


@EXAMPLES
@given(
    groups=st.integers(1, 3),
    rows=st.integers(1, 90),
    channels=st.integers(1, 40),
    taps=st.sampled_from([1, 2, 4, 9]),
    gathers=st.booleans(),
    backwards=st.booleans(),
    scaled=st.booleans(),
    biased=st.booleans(),
    threads=st.integers(1, 3),
)
def test_blocks_of_rows(
    groups: int,
    rows: int,
    channels: int,
    taps: int,
    gathers: bool,
    backwards: bool,
    scaled: bool,
    biased: bool,
    threads: int,
) -> None:
    index = np.arange(taps)[:: -1 if backwards else 1].copy()
    order = (
        (groups, rows, channels, taps) if gathers else (groups, channels, rows, taps)
    )
    w = FENCED.zeros(order, "float32")
    w[...] = numbers(order, 1)
    strides = [step // 4 for step in w.strides]
    row, channel = strides[1:3] if gathers else strides[2:0:-1]
    scale, bias = numbers((groups, rows), 2), numbers((groups, rows), 3)
    blocks = -(-rows // ROWS)
    packed = FENCED.zeros((groups, blocks, channels, taps, ROWS), "float32")
    packed_bias = FENCED.zeros((groups, blocks, ROWS), "float32")
    packed[...] = packed_bias[...] = np.nan
    call = pack_weights(
        w=w,
        bias=bias if biased else 0,
        scale=scale if scaled else 0,
        packed=packed,
        packed_bias=packed_bias,
        groups=groups,
        rows=rows,
        channels=channels,
        taps=taps,
        tap_index=index,
        in_order=channel == taps and not (backwards and taps > 1),
        group_stride=strides[0],
        row_stride=row,
        channel_stride=channel,
    )
    ThreadPool(threads).run(Program([call]))
    want = np.zeros((groups, blocks * ROWS, channels, taps), np.float32)
    want[:, :rows] = (w if gathers else w.swapaxes(1, 2))[..., index]
    if scaled:
        want[:, :rows] *= scale[..., None, None]
    want = want.reshape(groups, blocks, ROWS, channels, taps)
    np.testing.assert_array_equal(packed, np.moveaxis(want, 2, -1))
    want_bias = np.zeros((groups, blocks * ROWS), np.float32)
    want_bias[:, :rows] = bias if biased else 0
    np.testing.assert_array_equal(packed_bias.reshape(groups, -1), want_bias)
