"""Whether gradients are plain numbers: the kernel against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.looking import looks
from tests.backends.cpu.oracle import EXAMPLES

PLAIN = float(np.nextafter(np.float32(2.0**48), np.float32(0)))
STRANGE = [2.0**48, -(2.0**50), 1e38, np.inf, -np.inf, np.nan, -np.nan]


@EXAMPLES
@given(
    count=st.integers(0, 70000),
    step=st.sampled_from([1, 1, 2, 7]),
    threads=st.integers(1, 3),
    value=st.sampled_from([None, PLAIN, -PLAIN, 1e-45, *STRANGE]),
    place=st.floats(0, 1, exclude_max=True),
)
def test_what_is_not_plain_is_found(
    count: int, step: int, threads: int, value: float | None, place: float
) -> None:
    rng = np.random.default_rng(count)
    whole = np.full(max(1, count * step), np.nan, np.float32)
    seen = whole[::step][:count]
    seen[...] = rng.normal(size=count)
    if value is not None and count:
        seen[int(place * count)] = value
    found = np.zeros(1, np.int64)
    CpuBackend(threads).runner(looks([seen], found))()
    with np.errstate(invalid="ignore"):
        assert bool(found[0]) == (not bool((np.abs(seen) < 2.0**48).all()))


def test_what_was_found_stays() -> None:
    found = np.zeros(1, np.int64)
    arrays = [np.array([np.inf], np.float32), np.ones(5, np.float32)]
    CpuBackend(2).runner(looks(arrays, found))()
    assert found[0] == 1
