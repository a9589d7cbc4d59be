"""Eltwise and the gradient of Split on the device against the portable kernels."""

import numpy as np
import pytest

from runtime.backends.cuda.converted import Converted
from runtime.backends.cuda.layers.eltwise import Eltwise, Split
from tests.backends.cuda.oracle import PORTABLE, PlacedLayer, check_own
from tests.layers.harness import LoneLayer

SHAPE = (2, 3, 5, 7)  # 210 values: two are left over by packs of 4 and of 8
COUNTS = [2, 3, 8, 9, 17]
PRECISIONS = ["float32", "bf16", "fp16"]


def text_of(options):
    return f'type: "Eltwise" eltwise_param {{ {options} }}'


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("order", ["last", None])
def test_sum(cuda, count, order, precision):
    coeff = " ".join(f"coeff: {(-1) ** i * (1 + i / 4)}" for i in range(count))
    for options in ("", coeff):
        check_own(
            cuda,
            text_of(f"operation: SUM {options}"),
            [SHAPE] * count,
            precision=precision,
            own=Eltwise,
            order=order,
            runs=2,
        )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("count", COUNTS)
def test_maximum(cuda, count, precision):
    rng = np.random.default_rng(8)
    values = [rng.integers(0, 5, size=SHAPE).astype(float) for _ in range(count)]
    check_own(
        cuda,
        text_of("operation: MAX"),
        values,
        precision=precision,
        own=Eltwise,
        order="last",
        tolerance=1e-7,
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("stable", ["true", "false"])
def test_product(cuda, count, stable, precision):
    rng = np.random.default_rng(9)
    values = [1 + rng.random(size=SHAPE) / 4 for _ in range(count)]
    check_own(
        cuda,
        text_of(f"operation: PROD stable_prod_grad: {stable}"),
        values,
        precision=precision,
        own=Eltwise,
        order="last",
    )


def test_a_product_of_more_blobs_runs_on_the_portable_kernel(cuda):
    text = text_of("operation: PROD")
    layer = LoneLayer(text, [(2, 3)] * 9, backend=cuda, dtype="float32")
    assert isinstance(layer.kernel, Converted)
    assert not isinstance(layer.kernel.inner, Eltwise)


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
def test_wanted_gradients_only(cuda, operation):
    for wanted in [(True, False, True), (False, True, False), (False,) * 3]:
        check_own(
            cuda,
            text_of(f"operation: {operation}"),
            [SHAPE] * 3,
            own=Eltwise,
            order="last",
            wanted_bottoms=wanted,
        )


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (0, 4), (70, 70)])
def test_any_shape(cuda, operation, shape):
    check_own(
        cuda, text_of(f"operation: {operation}"), [shape] * 2, own=Eltwise, runs=2
    )


def test_nan_in_a_maximum(cuda):
    text = text_of("operation: MAX")
    rng = np.random.default_rng(2)
    values = [rng.normal(size=(3, 7)).astype("float32") for _ in range(3)]
    values[0][0, 0] = values[1][1, 1] = values[2][2, 2] = np.nan
    values[0][0, 3], values[1][0, 4], values[2][0, 5] = np.inf, -np.inf, np.inf
    results = []
    for made, backend in ((PlacedLayer, cuda), (LoneLayer, PORTABLE)):
        layer = made(text, [(3, 7)] * 3, backend=backend, dtype="float32")
        tops = layer.forward(values)
        dbottoms, _ = layer.backward([np.ones((3, 7))])
        results.append([*tops, *dbottoms])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("count", [1, 2, 8, 9, 16])
def test_split(cuda, count, precision):
    tops = " ".join(f'top: "t{index}"' for index in range(count))
    for shape in [SHAPE, (5,), (0, 3)]:
        check_own(
            cuda,
            f'type: "Split" {tops}',
            [shape],
            precision=precision,
            own=Split,
            order="last",
        )


@pytest.mark.parametrize("kept", [(0,), (1,), ()])
def test_tops_of_a_split_that_nothing_learns_from_add_nothing(cuda, kept):
    text = 'type: "Split" top: "a" top: "b"'
    layer = PlacedLayer(text, [(2, 5)], backend=cuda, dtype="float32")
    inner = layer.kernel.inner
    inner.dtops = tuple(one if i in kept else None for i, one in enumerate(inner.dtops))
    layer.forward([np.ones((2, 5))])
    (dx,), _ = layer.backward([np.full((2, 5), 3.0), np.full((2, 5), 4.0)])
    np.testing.assert_array_equal(dx, np.full((2, 5), sum((3.0, 4.0)[i] for i in kept)))
