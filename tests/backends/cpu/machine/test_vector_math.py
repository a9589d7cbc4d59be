"""Functions of vectors against double precision, over all exponents of floats."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")


from runtime.backends.cpu.machine import vector_math
from runtime.backends.cpu.machine.mapping import mapped
from runtime.backends.cpu.machine.objects import load, make
from runtime.backends.cpu.machine.parts import types
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[4]
FENCE = np.float32(-7.25)


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# By name: the same in double precision, and the largest error in units of the last
# place.
FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "exp": (np.exp, 1.5),
    "expm1": (np.expm1, 2.0),
    "sigmoid": (sigmoid, 3.0),
    "tanh": (np.tanh, 3.0),
    "log": (np.log, 1.5),
    "softplus": (softplus, 2.5),
}
EXPONENTS = [0.3, -0.75, 1.5, 3, -2, 1, 7.25, 1e-3, 100, -41.5]


def samples(each: int) -> np.ndarray:
    """Return floats of every sign and exponent, subnormal ones and zeros too."""
    rng = np.random.default_rng(0)
    exponents = np.arange(255, dtype=np.uint32)[:, None]
    parts = rng.integers(0, 1 << 23, (255, each), dtype=np.uint32)
    parts[:, 0], parts[:, 1] = 0, (1 << 23) - 1
    x = (exponents << 23 | parts).reshape(-1).view(np.float32)
    return np.concatenate([x, -x, np.float32([np.inf, -np.inf, np.nan])])


def compiled(formula: Any, constants: int = 0) -> Callable[..., np.ndarray]:
    """Return a function of an array and constants, compiled."""
    loop = mapped(formula, 1)
    if constants:

        def kernel(x: int, y: int, count: int, constant: float) -> None:
            loop(x, y, count, constant)

    else:

        def kernel(x: int, y: int, count: int, constant: float) -> None:
            loop(x, y, count)

    four = [types.int64] * 3 + [types.float64]
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3, ctypes.c_double)
    made = kind(load(make(kernel, four)))

    def run(x: np.ndarray, constant: float = 0.0, start: int = 0) -> np.ndarray:
        y = np.full(x.size + 2, FENCE)
        y[start : start + x.size] = x
        source = x if start == 0 else y[start : start + x.size]  # in place
        at = y.ctypes.data + 4 * start
        made(source.ctypes.data, at, x.size, constant)
        beside = np.concatenate([y[:start], y[start + x.size :]])
        assert (beside == FENCE).all()
        return y[start : start + x.size]

    return run


def check(got: np.ndarray, want: np.ndarray, limit: float) -> None:
    """Check that numbers are near, and that all else is equal."""
    rounded = want.astype(np.float32)
    numbers = np.isfinite(rounded) & np.isfinite(got)
    unit = np.spacing(np.abs(rounded[numbers])).astype(float)
    errors = np.abs(got[numbers].astype(float) - want[numbers]) / unit
    assert errors.max() <= limit
    np.testing.assert_array_equal(got[~numbers], rounded[~numbers])
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(rounded[known]))


def check_function(name: str, each: int = 500) -> None:
    reference, limit = FUNCTIONS[name]
    x = samples(each)
    with np.errstate(all="ignore"):
        want = reference(x.astype(float))
        check(compiled(getattr(vector_math, name))(x), want, limit)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_right_to_the_last_places(name: str) -> None:
    check_function(name)


def check_powers(each: int = 100) -> None:
    x, run = samples(each), compiled(vector_math.power, constants=1)
    with np.errstate(all="ignore"):
        for exponent in EXPONENTS:
            p = float(np.float32(exponent))
            check(run(x, exponent), np.abs(x.astype(float)) ** p, 0.6)


def test_powers_are_right_to_the_last_place() -> None:
    check_powers()


def test_logarithms_of_sums_with_one() -> None:
    u = samples(500)
    u = u[(u >= 0) & (u <= 1) & ~np.signbit(u)]
    got = compiled(vector_math.log1p_of_part)(u)
    check(got, np.log1p(u.astype(float)), 1.5)


def test_every_length_and_place_has_the_same_bits() -> None:
    x = np.random.default_rng(1).normal(size=70).astype(np.float32)
    run = compiled(vector_math.tanh)
    want = run(x)
    for count in range(71):
        for start in (0, 1):
            np.testing.assert_array_equal(run(x[:count], start=start), want[:count])


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="these are features of x86"
)
@pytest.mark.parametrize("features", ["", "+avx", "+avx,+avx2,+fma"])
def test_functions_are_right_on_other_processors(features: str) -> None:
    code = """
from tests.backends.cpu.machine.test_vector_math import *
for name in FUNCTIONS:
    check_function(name, 50)
check_powers(20)
"""
    environment = {**os.environ, "NETSPEC_CPU_NAME": "nehalem"}
    environment.pop("NETSPEC_VECTOR_LANES", None)
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "NETSPEC_CPU_FEATURES": features},
        check=True,
        timeout=PATIENCE_S,
    )
