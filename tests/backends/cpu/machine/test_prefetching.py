"""Tiles that ask for what later ones read have the bits of those that do not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES, VECTORS
from runtime.backends.cpu.machine.matrix import multiply_tile
from runtime.backends.cpu.machine.objects import load, make
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.prefetching import (
    multiply_fetching,
    multiply_fetching_left,
)
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import EXAMPLES

CPU = FencedBackend(threads=1)
TILES = (multiply_tile, multiply_fetching_left, multiply_fetching)
Run = Callable[..., None]


@cache
def compiled(tile: Any) -> Run:
    """Return a function of (vectors, depth, a, b, c, bias, floor, ahead)."""
    which = TILES.index(tile)

    def kernel(
        vectors: int,
        depth: int,
        a: int,
        b: int,
        c: int,
        bias: int,
        floor: float,
        ahead: int,
    ) -> None:
        row, step, low = 4 * ROWS, vectors * VECTOR_BYTES, np.float32(floor)
        if which == 0:
            multiply_tile(vectors, a, row, 4, b, step, depth, c, step, bias, low)
        elif which == 1:
            multiply_fetching_left(
                vectors, a, row, 4, b, step, depth, c, step, bias, low, ahead
            )
        else:
            at = a + ahead
            multiply_fetching(
                vectors, a, row, 4, b, step, depth, c, step, bias, low, at, ahead
            )

    numbers = [types.int64] * 6
    taken = [ctypes.c_int64] * 6
    kind = ctypes.CFUNCTYPE(None, *taken, ctypes.c_double, ctypes.c_int64)
    return kind(load(make(kernel, [*numbers, types.float64, types.int64])))


@EXAMPLES
@given(
    vectors=st.integers(1, VECTORS),
    depth=st.integers(1, 40),
    ahead=st.sampled_from([0, 64, -4096, 10**6, 2**40, -(2**50)]),
    floor=st.sampled_from([0.0, -np.inf]),
    biased=st.booleans(),
    strange=st.sampled_from([0.0, np.nan, np.inf]),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiles(
    vectors: int,
    depth: int,
    ahead: int,
    floor: float,
    biased: bool,
    strange: float,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)

    def values(*shape: int) -> np.ndarray:
        array = CPU.zeros(shape, "float32")
        array[...] = random.standard_normal(shape)
        return array

    columns = vectors * LANES
    a, b, bias = values(depth, ROWS), values(depth, columns), values(ROWS)
    b[depth // 2, columns // 2] = strange
    start = values(ROWS, columns)
    results = [CPU.zeros(start.shape, "float32") for _ in range(3)]
    for result in results:
        result[...] = start
    plain, left, both = results
    for tile, result in zip(TILES, results, strict=True):
        at = [one.ctypes.data for one in (a, b, result, bias)]
        at[3] *= biased
        compiled(tile)(vectors, depth, *at, floor, ahead)
    CPU.check_fences()
    want = a.T.astype(float) @ b + (bias[:, None] if biased else start)
    close = np.testing.assert_allclose
    close(plain, np.where(want < floor, floor, want), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(left.view(np.int32), plain.view(np.int32))
    np.testing.assert_array_equal(both.view(np.int32), plain.view(np.int32))
