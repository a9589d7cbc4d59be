"""Strassen's algorithm against sums in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation import strassen
from runtime.backends.cpu.correlation.pointwise_code import POSITIONS, WIDE
from runtime.backends.cpu.correlation.strassen import Strassen
from runtime.backends.cpu.layers.convolution import forward_algorithms
from runtime.backends.cpu.machine.llvm import LANES
from tests.backends.cpu.correlation.test_pointwise import (
    CPUS,
    computed,
    expected,
    of_one_tap,
)
from tests.backends.cpu.oracle import EXAMPLES

pytestmark = pytest.mark.skipif(LANES < POSITIONS, reason="vectors are too short")


@EXAMPLES
@given(
    images=st.integers(1, 3),
    half=st.integers(1, 20),
    rows=st.integers(WIDE + 1, 5 * WIDE),
    sizes=st.tuples(st.integers(1, 15), st.integers(1, 40)).filter(
        lambda two: two[0] * two[1] % 2 == 0 and two[0] * two[1] >= 2 * POSITIONS
    ),
    transposed=st.booleans(),
    given=st.tuples(*[st.booleans()] * 3),
    floor=st.sampled_from([0.0, -np.inf]),
    panel_bytes=st.sampled_from([0, 20000, 1 << 20]),
    size_of_rows=st.sampled_from([0, 5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_halves(
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    half: int,
    rows: int,
    sizes: tuple[int, int],
    transposed: bool,
    given: tuple[bool, ...],
    floor: float,
    panel_bytes: int,
    size_of_rows: int,
    seed: int,
) -> None:
    monkeypatch.setattr(strassen, "PANEL_BYTES", panel_bytes)
    shape = of_one_tap(images, 1, 2 * half, rows, sizes, transposed=transposed)
    assert Strassen.suits(shape)
    draw = np.random.default_rng(seed).standard_normal
    factors = 10.0 ** (size_of_rows * draw(rows))  # rows that differ much in size
    factors = factors.clip(1e-12, 1e12).astype(np.float32)
    w = draw((rows, 2 * half)).astype(np.float32)
    w = w if given[1] else w * factors[:, None]
    values = {
        "x": draw((images, 2 * half, *sizes)).astype(np.float32),
        "w": (w.T if transposed else w).ravel(),
        "bias": draw(rows).astype(np.float32) * factors if given[0] else None,
        "scale": factors if given[1] else None,
        "added": draw((images, rows, *sizes)) if given[2] else None,
    }
    results = run(shape, values, floor)
    want = expected(shape, values, floor, transposed=transposed)
    error = np.abs(results[0] - want) / (1 + factors[:, None, None])
    assert error.max() < 1e-5 * np.sqrt(half) * 4
    for other in results[1:]:
        assert other.tobytes() == results[0].tobytes()


def run(shape: Any, values: dict[str, Any], floor: float) -> list[np.ndarray]:
    return [computed(Strassen(shape, one.threads), one, values, floor) for one in CPUS]


@EXAMPLES
@given(
    half=st.integers(1, 9),
    rows=st.integers(WIDE + 1, 3 * WIDE),
    where=st.integers(0, 3),
    strange=st.sampled_from([np.nan, np.inf, -np.inf]),
    seed=st.integers(0, 2**32 - 1),
)
def test_strange_values_are_not_lost(
    half: int, rows: int, where: int, strange: float, seed: int
) -> None:
    """They are seen where the definition has them, and in no other image."""
    shape = of_one_tap(3, 1, 2 * half, rows, (7, 8))
    draw = np.random.default_rng(seed).standard_normal
    values: dict[str, Any] = dict.fromkeys(("bias", "scale", "added"))
    values["x"] = draw((3, 2 * half, 7, 8)).astype(np.float32)
    values["w"] = draw(rows * 2 * half).astype(np.float32)
    (clean, *_) = run(shape, values, -np.inf)
    channel, position = (where % 2) * (2 * half - 1), (where // 2) * 55
    values["x"][1, channel].reshape(-1)[position] = strange
    (found, *_) = run(shape, values, -np.inf)
    assert not np.isfinite(found[1].reshape(rows, -1)[:, position]).any()
    for image in (0, 2):
        assert found[image].tobytes() == clean[image].tobytes()


@pytest.mark.skipif(LANES < 16, reason="it is for vectors of 16")
@pytest.mark.parametrize(
    ("channels", "rows", "sizes", "chosen"),
    [
        (512, 512, (14, 14), True),
        (256, 256, (28, 28), True),
        (96, 576, (14, 14), True),
        (384, 64, (28, 28), False),
        (64, 384, (28, 28), False),
        (512, 512, (7, 7), False),
        (511, 512, (14, 14), False),
    ],
)
def test_where_it_is_taken(
    channels: int, rows: int, sizes: tuple[int, int], chosen: bool
) -> None:
    for images in (1, 2, 16):
        shape = of_one_tap(images, 1, channels, rows, sizes)
        (constant,) = forward_algorithms([shape], 2, constant=True)
        assert isinstance(constant, Strassen) == (chosen and images > 1)
        (trained,) = forward_algorithms([shape], 2)
        assert not isinstance(trained, Strassen)
