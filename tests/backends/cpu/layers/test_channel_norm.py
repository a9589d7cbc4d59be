"""Statistics of channels against double precision, on numbers that are hard to sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.layers import normalization
from runtime.backends.cpu.layers.channel_norm import (
    CHUNK,
    normalize,
    normalize_gradient,
)
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.thread_pool import Program
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import EXAMPLES, numbers
from tests.backends.cpu.shuffled import ShuffledPool

EPS = 1e-5


def aligned(shape: tuple[int, ...], offset: int = 0) -> np.ndarray:
    """Return zeros that begin so many bytes behind the edge of a vector."""
    size = int(np.prod(shape))
    memory = np.zeros(4 * size + 2 * VECTOR_BYTES, np.uint8)
    start = -memory.ctypes.data % VECTOR_BYTES + offset
    return memory[start : start + 4 * size].view(np.float32).reshape(shape)


def run(x: np.ndarray, threads: int = 1, **options: Any) -> dict[str, np.ndarray]:
    """Return what `normalize` and its gradient write; x: (images, channels, pixels)."""
    backend = FencedBackend(1)
    n, c, p = x.shape
    arrays = {
        name: backend.zeros(x.shape, "float32") for name in ("x", "y", "dy", "dx")
    }
    small = ("mean", "inverse", "gamma", "beta", "dgamma", "dbeta")
    arrays |= {name: backend.zeros((c,), "float32") for name in small}
    if "streamed" in options:
        arrays["y"] = aligned(x.shape)
    arrays["x"][...] = x
    arrays["dy"][...] = numbers(x.shape, 1)
    arrays["gamma"][...] = 0.5 + np.abs(numbers((c,), 2))
    arrays["beta"][...] = numbers((c,), 3)
    given = {"images": n, "channels": c, "pixels": p, "serial": threads == 1}
    line = {name: arrays[name] for name in ("mean", "inverse", "gamma", "beta")}
    forward = dict(
        x=arrays["x"],
        y=arrays["y"],
        added=0,
        kept=0,
        means=0,
        variances=0,
        weight=0,
        streamed=0,
        eps=EPS,
        fraction=0,
        share=0,
        correction=1,
        floor=0.0,
    )
    backward = dict(
        dy=arrays["dy"],
        x=arrays["x"],
        dx=arrays["dx"],
        dgamma=arrays["dgamma"],
        dbeta=arrays["dbeta"],
        rectified=1,
        accumulate_gamma=0,
        accumulate_beta=0,
        leave=0,
    )
    calls = [
        normalize(**(forward | options), **line, **given),
        normalize_gradient(**backward, **line, **given),
    ]
    ShuffledPool(threads).run(Program(calls))
    backend.check_fences()
    return arrays


def check(x: np.ndarray) -> None:
    """Compare with double precision; what the rounding of a mean costs is allowed."""
    got = run(x)
    wide = x.astype(np.float64)
    mean = wide.mean((0, 2), keepdims=True)
    deviation = np.sqrt(wide.var((0, 2), keepdims=True) + EPS)
    gamma, beta, dy = (got[name].astype(np.float64) for name in ("gamma", "beta", "dy"))
    normal = (wide - mean) / deviation
    before = normal * gamma[:, None] + beta[:, None]
    near = 2e-5 + float((np.abs(mean) / deviation).max()) * 2e-7
    np.testing.assert_allclose(got["mean"], mean.reshape(-1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got["inverse"], 1 / deviation.reshape(-1), rtol=2e-6)
    want = np.maximum(before, 0)
    largest = np.abs(want).max()
    np.testing.assert_allclose(got["y"], want, rtol=0, atol=near * max(1, largest))
    passes = got["y"] > 0
    g = np.where(passes, dy, 0)
    values = x.shape[0] * x.shape[2]
    dbeta, dgamma = g.sum((0, 2)), (g * normal).sum((0, 2))
    scale = max(1.0, float(np.abs(normal).max())) * np.sqrt(values)
    np.testing.assert_allclose(got["dbeta"], dbeta, rtol=0, atol=near * scale)
    np.testing.assert_allclose(got["dgamma"], dgamma, rtol=0, atol=near * scale)
    dx = g - (dbeta[:, None] + normal * dgamma[:, None]) / values
    dx *= gamma[:, None] / deviation
    terms = float((gamma[:, None] / deviation).max()) * float(np.abs(dy).max())
    limit = near * terms * max(1.0, float(np.abs(normal).max()))
    np.testing.assert_allclose(got["dx"], dx, rtol=0, atol=limit)


@EXAMPLES
@given(
    images=st.integers(1, 9),
    channels=st.integers(1, 4),
    pixels=st.sampled_from([2, 15, 16, 17, 33, 49, 196, CHUNK - 1, CHUNK + 5]),
    mean=st.sampled_from([0.0, 3.0, -1e3, 2e4]),
)
def test_any_shape_and_mean(
    images: int, channels: int, pixels: int, mean: float
) -> None:
    check(numbers((images, channels, pixels), 0) + np.float32(mean))


@pytest.mark.parametrize("pixels", [49, CHUNK + 100])
@pytest.mark.parametrize("odd", [0, 3, 6])
def test_one_image_that_is_unlike_the_others(pixels: int, odd: int) -> None:
    x = numbers((7, 3, pixels), 0)
    x[odd] += 500
    x[odd, 1] = -1000
    check(x)


def test_channels_of_one_value() -> None:
    x = np.full((4, 3, 50), 0.1, np.float32)
    x[:, 1], x[:, 2] = -7e5, 0
    got = run(x)
    np.testing.assert_array_equal(got["mean"], x[0, :, 0])
    np.testing.assert_allclose(got["inverse"], 1 / np.sqrt(EPS), rtol=1e-3)
    y = np.maximum(np.broadcast_to(got["beta"][:, None], x.shape), 0)
    np.testing.assert_allclose(got["y"], y, atol=1e-5)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_bits_do_not_depend_on_threads(threads: int) -> None:
    x = numbers((3, 11, 53), 0)
    one, many = run(x), run(x, threads)
    for name, values in one.items():
        np.testing.assert_array_equal(many[name], values, err_msg=name)


def test_what_is_streamed_has_the_same_bits() -> None:
    x = numbers((3, 5, 4 * LANES), 0)
    for name, values in run(x).items():
        np.testing.assert_array_equal(run(x, streamed=1)[name], values, err_msg=name)


def test_only_planes_of_whole_vectors_are_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = (3, 5, 2 * LANES, 2)
    assert not normalization.can_stream(aligned(shape))  # it is small
    monkeypatch.setattr(normalization, "STREAMED_FLOATS", 1)
    assert normalization.can_stream(aligned(shape))
    assert not normalization.can_stream(aligned(shape, offset=4))
    assert not normalization.can_stream(aligned((3, 5, 2 * LANES + 1, 1)))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [(0, 1, 0), (2, 1, 30)])
def test_what_is_not_finite_spoils_its_channel_alone(
    value: float, place: tuple[int, ...]
) -> None:
    x = numbers((3, 4, 31), 0)
    clean = run(x)
    x[place] = value
    got = run(x)
    others = [0, 2, 3]
    for name in ("y", "dx"):
        assert np.isnan(got[name][:, 1]).any()
        np.testing.assert_array_equal(got[name][:, others], clean[name][:, others])
    np.testing.assert_equal(got["mean"][1], value)
    assert np.isnan(got["inverse"][1])


def test_an_infinite_variance_has_the_reciprocal_zero() -> None:
    x = numbers((3, 4, 31), 0)
    x[:, 1] *= np.float32(1e25)
    got = run(x)
    assert got["inverse"][1] == 0
    np.testing.assert_array_equal(got["y"][:, 1], max(0, got["beta"][1]))
    np.testing.assert_array_equal(got["dx"][:, 1], 0)


def test_remembered_variances_need_not_be_finite_or_above_zero() -> None:
    values = np.array([4, 0, np.inf, np.nan, -1] * LANES, np.float32)
    arrays = {name: np.ones_like(values) for name in ("means", "scale", "shift")}
    call = normalization.remembered(
        variances=values,
        weight=np.ones(1, np.float32),
        gamma=0,
        beta=0,
        bias=0,
        channels=values.size,
        eps=0,
        serial=True,
        **arrays,
    )
    ShuffledPool(1).run(Program([call]))
    with np.errstate(all="ignore"):
        want = 1 / np.sqrt(values)
    np.testing.assert_array_equal(arrays["scale"], want)
    np.testing.assert_array_equal(arrays["shift"], -want)
