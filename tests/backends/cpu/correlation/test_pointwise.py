"""Correlations of one tap, and of one position, against sums in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation import direct
from runtime.backends.cpu.correlation.correlation import Correlation, Taps, Weights
from runtime.backends.cpu.correlation.depthwise import Depthwise
from runtime.backends.cpu.correlation.direct import Direct
from runtime.backends.cpu.correlation.pointwise import Dots, Pointwise
from runtime.backends.cpu.correlation.pointwise_code import FEW
from runtime.backends.cpu.layers.convolution import forward_algorithms
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import EXAMPLES

CPUS = [FencedBackend(threads=threads) for threads in (1, 2, 3)]
STRANGE = [0.0, np.nan, np.inf, -np.inf]


def of_one_tap(
    images: int,
    groups: int,
    channels: int,
    rows: int,
    sizes: tuple[int, int],
    step: int = 1,
    *,
    transposed: bool = False,
) -> Correlation:
    """Return a correlation; transposed: weights lie as those of a Deconvolution."""
    out = -(-sizes[0] // step), -(-sizes[1] // step)
    none = np.zeros(1, np.int64)
    strides = (1, rows) if transposed else (channels, 1)
    return Correlation(
        images=images,
        groups=groups,
        channels=channels,
        rows=rows,
        sizes=sizes,
        sizes_out=out,
        positions=out,
        taps=Taps(none, none, none),
        group_stride=channels * rows,
        row_stride=strides[0],
        channel_stride=strides[1],
        steps=(step, step),
    )


def computed(
    algorithm: Any, backend: FencedBackend, values: dict[str, Any], floor: float
) -> np.ndarray:
    """Return y by an algorithm, on arrays between fences."""

    def kept(name: str) -> Any:
        value = values[name]
        if value is None:
            return 0
        array = backend.zeros(value.shape, "float32")
        array[...] = value
        return array

    shape = algorithm.shape
    sizes = (shape.images, shape.groups * shape.rows, *shape.sizes_out)
    room = backend.zeros((int(np.prod(sizes)) + LANES,), "float32")
    start = -room.ctypes.data % VECTOR_BYTES // 4  # at a multiple of a vector
    y = room[start : start + room.size - LANES].reshape(sizes)
    work = {k: backend.zeros((v,), "uint8") for k, v in algorithm.scratch().items()}
    weights = Weights(
        kept("w"), kept("bias"), kept("scale"), constant=True, added=kept("added")
    )
    calls = algorithm.calls(work, weights, kept("x"), y, floor)
    backend.runner(calls)()
    backend.check_fences()
    assert not room[:start].any()
    assert not room[start + y.size :].any()
    return y.copy()


def expected(
    shape: Correlation, values: dict[str, Any], floor: float, *, transposed: bool
) -> np.ndarray:
    groups, step = shape.groups, shape.steps[0]
    x = values["x"][:, :, ::step, ::step].astype(float)
    x = x.reshape(shape.images, groups, shape.channels, -1)
    w = values["w"].astype(float)
    w = w.reshape(groups, *((-1, shape.rows) if transposed else (shape.rows, -1)))
    w = w.swapaxes(1, 2) if transposed else w
    if values["scale"] is not None:
        w = w * values["scale"].reshape(groups, -1, 1)
    with np.errstate(invalid="ignore"):
        y = np.einsum("grc,ngcp->ngrp", w, x)
        if values["bias"] is not None:
            y += values["bias"].reshape(groups, -1, 1)
        y = y.reshape(shape.images, -1, *shape.sizes_out)
        if values["added"] is not None:
            y += values["added"]
        return np.where(y < floor, floor, y)


@pytest.mark.parametrize("kind", [Pointwise, Direct])
@EXAMPLES
@given(
    images=st.integers(1, 3),
    groups=st.sampled_from([1, 1, 2]),
    channels=st.integers(1, 40),
    rows=st.integers(1, 70),
    sizes=st.tuples(st.integers(1, 15), st.integers(1, 40)).filter(
        lambda two: two[0] * two[1] >= FEW
    ),
    step=st.sampled_from([1, 1, 2, 3]),
    transposed=st.booleans(),
    given=st.tuples(*[st.booleans()] * 3),
    floor=st.sampled_from([0.0, -np.inf]),
    strange=st.sampled_from(STRANGE),
    past_caches=st.booleans(),
    ways=st.sampled_from([0, 8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_one_tap(
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
    images: int,
    groups: int,
    channels: int,
    rows: int,
    sizes: tuple[int, int],
    step: int,
    transposed: bool,
    given: tuple[bool, ...],
    floor: float,
    strange: float,
    past_caches: bool,
    ways: int,
    seed: int,
) -> None:
    monkeypatch.setattr(direct, "STREAMED_BYTES", 0 if past_caches else 1 << 30)
    monkeypatch.setattr(direct, "WAYS", ways)
    monkeypatch.setattr(direct, "FEW_ROWS", 2 * ways)
    sizes = sizes[0] * step, sizes[1] * step - step // 2
    if groups > 1:
        transposed = False
    shape = of_one_tap(
        images, groups, channels, rows, sizes, step, transposed=transposed
    )
    assert Pointwise.suits(shape)
    draw = np.random.default_rng(seed).standard_normal
    all_rows = groups * rows
    x = draw((images, groups * channels, *sizes))
    x[0, channels // 2, 0, 0] += strange
    values = {
        "x": x.astype(np.float32),
        "w": draw(all_rows * channels).astype(np.float32),
        "bias": draw(all_rows).astype(np.float32) if given[0] else None,
        "scale": draw(all_rows).astype(np.float32) if given[1] else None,
        "added": draw((images, all_rows, *shape.sizes_out)) if given[2] else None,
    }
    results = [computed(kind(shape, one.threads), one, values, floor) for one in CPUS]
    want = expected(shape, values, floor, transposed=transposed)
    np.testing.assert_allclose(results[0], want, rtol=1e-4, atol=1e-4)
    for other in results[1:]:
        assert other.tobytes() == results[0].tobytes()


@EXAMPLES
@given(
    images=st.integers(1, 4),
    channels=st.integers(1, 40),
    rows=st.integers(1, 70),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    given=st.tuples(st.booleans(), st.booleans()),
    floor=st.sampled_from([0.0, -np.inf]),
    strange=st.sampled_from(STRANGE),
    seed=st.integers(0, 2**32 - 1),
)
def test_one_position(
    images: int,
    channels: int,
    rows: int,
    sizes: tuple[int, int],
    given: tuple[bool, bool],
    floor: float,
    strange: float,
    seed: int,
) -> None:
    plane = sizes[0] * sizes[1]
    i, j = np.divmod(np.arange(plane), sizes[1])
    shape = Correlation(
        images=images,
        groups=1,
        channels=channels,
        rows=rows,
        sizes=sizes,
        sizes_out=(1, 1),
        positions=(1, 1),
        taps=Taps(i, j, np.arange(plane)),
        group_stride=rows * channels * plane,
        row_stride=channels * plane,
        channel_stride=plane,
    )
    expected_kind = Depthwise if Depthwise.suits(shape) else Dots
    assert isinstance(forward_algorithms([shape], 2)[0], expected_kind)
    draw = np.random.default_rng(seed).standard_normal
    x = draw((images, channels, *sizes))
    x[0, channels // 2, 0, 0] += strange
    values = {
        "x": x.astype(np.float32),
        "w": draw((rows, channels * plane)).astype(np.float32),
        "bias": draw(rows).astype(np.float32) if given[0] else None,
        "scale": draw(rows).astype(np.float32) if given[1] else None,
        "added": None,
    }
    results = [computed(Dots(shape, one.threads), one, values, floor) for one in CPUS]
    flat = of_one_tap(images, 1, channels * plane, rows, (1, 1))
    values["x"] = values["x"].reshape(images, -1, 1, 1)
    want = expected(flat, values, floor, transposed=False)
    np.testing.assert_allclose(results[0], want, rtol=1e-4, atol=1e-4)
    for other in results[1:]:
        assert other.tobytes() == results[0].tobytes()


@pytest.mark.parametrize(
    ("changes", "suits"),
    [
        ({}, True),
        ({"sizes_out": (8, 9)}, False),  # padded
        ({"first": (1, 1), "steps_out": (2, 2)}, False),
        ({"steps": (2, 1)}, False),
    ],
)
def test_where_one_tap_suits(changes: dict[str, Any], suits: bool) -> None:
    usual = vars(of_one_tap(2, 1, 5, 6, (8, 8)))
    assert Pointwise.suits(Correlation(**(usual | changes))) == suits
