"""Running a lone layer on compiled kernels and on the portable ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from runtime.backends import get_backend
from runtime.backends.cpu import CpuBackend
from runtime.backends.layer_kernel import LayerKernel
from tests.backends.cpu.fences import FencedBackend
from tests.layers.harness import LoneLayer

PORTABLE = get_backend("portable")
CPU = FencedBackend(threads=3)  # more than there is work for in small layers
TOLERANCE = 2e-5  # of the largest value: sums are in another order
EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Layers with enough to do for several threads: text and the shape of the bottom.
LAYERS = {
    "direct": (
        (
            'type: "Convolution" bottom: "x" top: "y" '
            "convolution_param { num_output: 20 kernel_size: 3 stride: 2 pad: 1 }"
        ),
        (5, 12, 19, 23),
    ),
    "winograd": (
        (
            'type: "Convolution" bottom: "x" top: "y" '
            "convolution_param { num_output: 48 kernel_size: 3 pad: 1 }"
        ),
        (6, 40, 28, 28),
    ),
    "depthwise": (
        (
            'type: "Convolution" bottom: "x" top: "y" convolution_param { '
            "num_output: 20 group: 20 kernel_size: 4 stride: 2 pad: 1 }"
        ),
        (5, 20, 19, 23),
    ),
    "depthwise, usual": (
        (
            'type: "Convolution" bottom: "x" top: "y" convolution_param { '
            "num_output: 20 group: 20 kernel_size: 3 stride: 2 pad: 1 }"
        ),
        (5, 20, 19, 23),
    ),
    "deconvolution": (
        (
            'type: "Deconvolution" bottom: "x" top: "y" '
            "convolution_param { num_output: 20 kernel_size: 4 stride: 2 pad: 1 }"
        ),
        (5, 12, 19, 23),
    ),
    "large weights": (
        (
            'type: "Convolution" bottom: "x" top: "y" '
            "convolution_param { num_output: 600 kernel_size: 1 }"
        ),
        (3, 500, 7, 7),
    ),
    "inner product": (
        (
            'type: "InnerProduct" bottom: "x" top: "y" '
            "inner_product_param { num_output: 300 }"
        ),
        (33, 500),
    ),
    "pooling": (
        (
            'type: "Pooling" bottom: "x" top: "y" '
            "pooling_param { kernel_size: 4 stride: 2 }"
        ),
        (5, 12, 30, 31),
    ),
    "pooling, usual": (
        (
            'type: "Pooling" bottom: "x" top: "y" '
            "pooling_param { kernel_size: 3 stride: 2 }"
        ),
        (5, 12, 30, 31),
    ),
    "lrn": ('type: "LRN" bottom: "x" top: "y"', (5, 12, 30, 31)),
    "batch norm": ('type: "BatchNorm" bottom: "x" top: "y"', (5, 12, 30, 31)),
    "scale": ('type: "Scale" bottom: "x" top: "y"', (5, 12, 30, 31)),
}


def numbers(shape: Sequence[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(tuple(shape)).astype(np.float32)


def results(
    layer: LoneLayer,
    bottoms: list[np.ndarray],
    accumulate: bool,
    weights: float = 1.0,
) -> list[np.ndarray | None]:
    """Run both ways on values that depend on shapes only; return all that is made.

    weights: their usual size; sequences with large ones make rounding grow.
    """
    params = [
        numbers(x.shape, 10 + i) * np.float32(weights)
        for i, x in enumerate(layer.bound.params)
    ]
    if layer.op.type == "BatchNorm":  # variances and their weight
        params = [np.abs(one) + 1 for one in params]
    tops = layer.forward(bottoms, params)
    dtops = [numbers(top.shape, 20 + i) for i, top in enumerate(tops)]
    before = [numbers(one.shape, 30 + i) for i, one in enumerate(params)]
    statistics = [] if layer.op.learned_params is None else layer.params()
    if not any(layer.differentiable) and not any(layer.learnable):
        return [*tops, *statistics]
    dbottoms, dparams = layer.backward(
        dtops, accumulate=[accumulate] * len(params), before=before
    )
    if isinstance(layer.backend, FencedBackend):
        layer.backend.check_fences()
    return [*tops, *statistics, *dbottoms, *dparams]


def compare(
    text: str,
    shapes: Sequence[Sequence[int]],
    *,
    accumulate: bool = False,
    backend: CpuBackend = CPU,
    bottoms: list[np.ndarray] | None = None,
    usual: float = 1.0,
    weights: float = 1.0,
    **options: Any,
) -> LoneLayer:
    """Check that both backends compute the same; returns the compiled layer.

    usual: a value as the tops usually have; the only one of a small top may happen to
    be much smaller than the terms whose rounding it has.
    """
    text = f'name: "layer" {text}'
    bottoms = bottoms or [numbers(shape, i) for i, shape in enumerate(shapes)]
    shapes = [tuple(shape) for shape in shapes]
    fast = LoneLayer(text, shapes, backend=backend, dtype="float32", **options)
    slow = LoneLayer(text, shapes, backend=PORTABLE, dtype="float32", **options)
    assert isinstance(fast.kernel, LayerKernel)
    pairs = zip(
        results(fast, bottoms, accumulate, weights),
        results(slow, bottoms, accumulate, weights),
        strict=True,
    )
    for got, want in pairs:
        assert (got is None) == (want is None)
        if want is not None and want.size:
            limit = TOLERANCE * max(usual, float(np.nanmax(np.abs(want))))
            np.testing.assert_allclose(got, want, rtol=0, atol=limit)
    return fast
