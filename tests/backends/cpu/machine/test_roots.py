"""Functions that stay as written, within those whose sums may be reordered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from runtime.backends.cpu.machine.roots import inverse_root, quotient
from runtime.backends.cpu.machine.simd import f32
from tests.backends.cpu.machine.made import Made

SPECIAL = [0.0, np.inf, np.nan, -1.0, 1e-45, 1e-38, 3e38, 2.0, 0.1]


def fill(values: int, count: int) -> None:
    for i in range(count):
        f32(values)[i] = inverse_root(f32(values)[i])


def divide(x: int, y: int, count: int) -> None:
    for i in range(count):
        f32(x)[i] = quotient(f32(x)[i], f32(y)[i])


def run(function: Any, *arrays: np.ndarray) -> None:
    """Compile a function and call it with arrays and the elements of each."""
    addresses = [one.ctypes.data for one in arrays]
    Made(function).native(*addresses, arrays[0].size)


def test_reciprocals_of_roots_are_rounded_as_numpy_rounds_them() -> None:
    got = np.array(SPECIAL * 20, np.float32)  # which fills vectors
    with np.errstate(all="ignore"):
        want = np.float32(1) / np.sqrt(got)
    run(fill, got)
    np.testing.assert_array_equal(got, want)


def test_quotients_are_rounded_as_numpy_rounds_them() -> None:
    pairs = np.meshgrid(SPECIAL, SPECIAL)
    x, y = (np.tile(one.astype(np.float32).reshape(-1), 4) for one in pairs)
    with np.errstate(all="ignore"):
        want = x / y
    run(divide, x, y)
    np.testing.assert_array_equal(x, want)
