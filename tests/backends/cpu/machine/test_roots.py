"""Functions that stay as written, within those whose sums may be reordered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from runtime.backends.cpu.machine.parts import FAST
from runtime.backends.cpu.machine.roots import inverse_root, quotient

SPECIAL = [0.0, np.inf, np.nan, -1.0, 1e-45, 1e-38, 3e38, 2.0, 0.1]


def test_reciprocals_of_roots_are_rounded_as_numpy_rounds_them() -> None:
    part = inverse_root.made

    def fill(values: Any) -> None:
        for i in range(values.size):
            values[i] = part(values[i])

    got = np.array(SPECIAL * 20, np.float32)  # which fills vectors
    with np.errstate(all="ignore"):
        want = np.float32(1) / np.sqrt(got)
        numba.njit(**{**FAST, "no_cpython_wrapper": False})(fill)(got)
    np.testing.assert_array_equal(got, want)


def test_quotients_are_rounded_as_numpy_rounds_them() -> None:
    part = quotient.made

    def divide(x: Any, y: Any) -> None:
        for i in range(x.size):
            x[i] = part(x[i], y[i])

    pairs = np.meshgrid(SPECIAL, SPECIAL)
    x, y = (np.tile(one.astype(np.float32).reshape(-1), 4) for one in pairs)
    with np.errstate(all="ignore"):
        want = x / y
        numba.njit(**{**FAST, "no_cpython_wrapper": False})(divide)(x, y)
    np.testing.assert_array_equal(x, want)
