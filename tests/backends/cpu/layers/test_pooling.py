"""Pooling: compiled kernels against the portable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from runtime.backends.cpu.layers import pooling
from runtime.backends.layer_kernel import LayerKernel
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare
from tests.layers.harness import LoneLayer

small = st.integers(1, 5)


@EXAMPLES
@given(
    pool=st.sampled_from(["MAX", "AVE"]),
    planes=st.tuples(small, small),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    pad=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    extra=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_pooling(
    pool: str,
    planes: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    extra: tuple[int, int],
) -> None:
    pad = min(pad[0], kernel[0] - 1), min(pad[1], kernel[1] - 1)
    height, width = (k + more for k, more in zip(kernel, extra, strict=True))
    text = (
        f'type: "Pooling" bottom: "x" top: "y" pooling_param {{ pool: {pool} '
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} pad_h: {pad[0]} pad_w: {pad[1]} "
        f"stride_h: {stride[0]} stride_w: {stride[1]} }}"
    )
    compare(text, [(*planes, height, width)])


@EXAMPLES
@given(
    planes=st.tuples(small, small),
    size=st.tuples(st.integers(2, 90), st.integers(2, 90)),
    rounds=st.sampled_from(["CEIL", "FLOOR"]),
)
def test_maxima_of_neighbouring_windows(
    planes: tuple[int, int], size: tuple[int, int], rounds: str
) -> None:
    text = (
        'type: "Pooling" bottom: "x" top: "y" pooling_param { pool: MAX '
        f"kernel_size: 2 stride: 2 round_mode: {rounds} }}"
    )
    compare(text, [(*planes, *size)])


def test_windows_beyond_the_image() -> None:
    options = "kernel_size: 1 stride: 3"
    text = 'type: "Pooling" bottom: "x" top: "y" pooling_param { pool: %s %s }'
    compare(text % ("AVE", options), [(2, 3, 5, 9)])
    layer = LoneLayer(
        f'name: "layer" {text % ("MAX", options)}',
        [(2, 3, 5, 9)],
        backend=CPU,
        dtype="float32",
    )
    assert not isinstance(layer.kernel, LayerKernel)  # there is no winner


def test_maximum_of_nan_and_of_infinities() -> None:
    text = (
        'name: "p" type: "Pooling" bottom: "x" top: "y" '
        "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
    )
    layer = LoneLayer(text, [(1, 1, 2, 6)], backend=CPU, dtype="float32")
    x = np.array(
        [
            [1, np.nan, -np.inf, -np.inf, 3, np.inf],
            [2, 0, -np.inf, -np.inf] * 1 + [np.inf, 1],
        ],
        np.float32,
    ).reshape(1, 1, 2, 6)
    (y,) = layer.forward([x])
    np.testing.assert_array_equal(y.ravel(), [np.nan, -np.inf, np.inf])
    (dx,), _ = layer.backward([np.ones((1, 1, 1, 3), np.float32)])
    assert dx is not None
    won = [[0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]]  # the NaN has no winner
    np.testing.assert_array_equal(dx[0, 0], won)


@st.composite
def usual_windows(draw: Any) -> tuple[str, tuple[int, ...]]:
    size, stride = draw(st.sampled_from([(2, 2), (3, 1), (3, 2)]))
    pad = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
    height, width = (max(1, size - p) + draw(st.integers(0, 45)) for p in pad)
    text = (
        f"kernel_size: {size} stride: {stride} pad_h: {pad[0]} pad_w: {pad[1]}"
        f" round_mode: {draw(st.sampled_from(['CEIL', 'FLOOR']))}"
    )
    return text, (draw(st.integers(1, 3)), draw(st.integers(1, 4)), height, width)


@EXAMPLES
@given(
    kind=st.sampled_from(["MAX", "AVE"]),
    case=usual_windows(),
    seed=st.integers(0, 99),
    learns=st.booleans(),
)
def test_usual_windows_find_what_the_general_way_finds(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    case: tuple[str, tuple[int, ...]],
    seed: int,
    learns: bool,
) -> None:
    options, shape = case
    text = (
        'name: "p" type: "Pooling" bottom: "x" top: "y" '
        f"pooling_param {{ pool: {kind} {options} }}"
    )
    values = [-np.inf, -2, 0, 1, 1.5, np.inf, np.nan, -np.inf]
    chances = np.random.default_rng(seed)
    x = chances.choice(np.float32(values), shape, p=chances.dirichlet(np.ones(8)))
    found = []
    for usual in (True, False):
        if not usual:
            monkeypatch.setattr(pooling, "has_kernel", lambda op: False)
        layer = LoneLayer(
            text, [shape], backend=CPU, dtype="float32", wanted_bottoms=[learns]
        )
        (y,) = layer.forward([x])
        dy = (1 + np.arange(y.size) % 7).reshape(y.shape).astype(np.float32)
        dx = layer.backward([dy])[0] if learns else []
        found.append([y, *dx])
    monkeypatch.undo()
    CPU.check_fences()
    for got, want in zip(*found, strict=True):
        if kind == "MAX":
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@EXAMPLES
@given(
    size=st.sampled_from([(2, 2), (3, 3), (4, 5), (3, 2)]),
    stride=st.integers(1, 5),
    pad=st.integers(0, 1),
    shape=st.tuples(small, small, st.integers(5, 20), st.integers(5, 40)),
    seed=st.integers(0, 99),
)
def test_maxima_of_what_is_not_finite_are_those_of_the_portable_kernel(
    size: tuple[int, int],
    stride: int,
    pad: int,
    shape: tuple[int, ...],
    seed: int,
) -> None:
    text = (
        'name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: MAX '
        f"kernel_h: {size[0]} kernel_w: {size[1]} stride: {stride} pad: {pad} }}"
    )
    values = [-np.inf, -2, 1, np.inf, np.nan]
    chances = np.random.default_rng(seed)
    x = chances.choice(np.float32(values), shape, p=chances.dirichlet(np.ones(5)))
    found = []
    for backend in (CPU, PORTABLE):
        layer = LoneLayer(text, [shape], backend=backend, dtype="float32")
        (y,) = layer.forward([x])
        dy = (1 + np.arange(y.size) % 7).reshape(y.shape).astype(np.float32)
        found.append((y, layer.backward([dy])[0][0]))
    CPU.check_fences()
    for got, want in zip(*found, strict=True):
        np.testing.assert_array_equal(got, want)
