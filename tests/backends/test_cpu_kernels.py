"""Compiled kernels of the CPU against the portable ones, over random shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from netspec.errors import SpecError
from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.layer_kernel import LayerKernel
from tests.backends.oracle import CPU, EXAMPLES, compare, numbers, results
from tests.layers.harness import LoneLayer

sizes = st.integers(1, 20)
small = st.integers(1, 5)


@EXAMPLES
@given(
    batch=st.integers(1, 40),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 70),
    transpose=st.booleans(),
    accumulate=st.booleans(),
)
def test_inner_product(
    batch: int, inputs: int, outputs: int, transpose: bool, accumulate: bool
) -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { '
        f"num_output: {outputs} transpose: {str(transpose).lower()} }}"
    )
    compare(text, [(batch, inputs)], accumulate=accumulate)


def test_inner_product_with_many_terms() -> None:
    text = (
        'type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 37 }"
    )
    compare(text, [(3, 2500)], accumulate=True)


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
    assert dx.sum() == 3


@EXAMPLES
@given(
    region=st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
    shape=st.tuples(small, st.integers(1, 20), sizes, sizes),
    size=st.sampled_from([1, 3, 5, 7]),
    beta=st.sampled_from([0.75, 0.5, 0.3]),
)
def test_lrn(region: str, shape: tuple[int, ...], size: int, beta: float) -> None:
    text = (
        'type: "LRN" bottom: "x" top: "y" lrn_param { '
        f"norm_region: {region} local_size: {size} alpha: 0.5 beta: {beta} }}"
    )
    compare(text, [shape])


@EXAMPLES
@given(
    shape=st.tuples(st.integers(2, 5), sizes, small, sizes),
    kind=st.sampled_from(["", "batch_norm_param { use_global_stats: true }"]),
    in_place=st.booleans(),
)
def test_batch_norm(shape: tuple[int, ...], kind: str, in_place: bool) -> None:
    top = "x" if in_place else "y"
    compare(f'type: "BatchNorm" bottom: "x" top: "{top}" {kind}', [shape])


@EXAMPLES
@given(
    shape=st.tuples(small, sizes, small, sizes),
    axis=st.integers(0, 3),
    axes=st.integers(1, 2),
    in_place=st.booleans(),
    kind=st.sampled_from(["Scale", "Bias"]),
    accumulate=st.booleans(),
)
def test_scale_and_bias(
    shape: tuple[int, ...],
    axis: int,
    axes: int,
    in_place: bool,
    kind: str,
    accumulate: bool,
) -> None:
    top = "x" if in_place else "y"
    bias = "bias_term: true" if kind == "Scale" else ""
    text = (
        f'type: "{kind}" bottom: "x" top: "{top}" {kind.lower()}_param {{ '
        f"axis: {axis} num_axes: {min(axes, 4 - axis)} {bias} }}"
    )
    compare(text, [shape], accumulate=accumulate)


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=1, max_size=4),
    slope=st.sampled_from([0, 0.1]),
    in_place=st.booleans(),
)
def test_relu(shape: list[int], slope: float, in_place: bool) -> None:
    top = "x" if in_place else "y"
    param = f"relu_param {{ negative_slope: {slope} }}"
    compare(f'type: "ReLU" bottom: "x" top: "{top}" {param}', [shape])


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=1, max_size=3),
    coefficients=st.lists(st.sampled_from([1, 1, -2]), min_size=2, max_size=7),
)
def test_eltwise_sum(shape: list[int], coefficients: list[int]) -> None:
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(coefficients)))
    coeff = " ".join(f"coeff: {c}" for c in coefficients)
    text = f'type: "Eltwise" {bottoms} top: "y" eltwise_param {{ {coeff} }}'
    compare(text, [shape] * len(coefficients))


@EXAMPLES
@given(
    outer=small,
    widths=st.lists(sizes, min_size=2, max_size=4),
    inner=sizes,
    kind=st.sampled_from(["Concat", "Slice"]),
)
def test_concat_and_slice(outer: int, widths: list[int], inner: int, kind: str) -> None:
    names = [f"x{i}" for i in range(len(widths))]
    if kind == "Concat":
        text = " ".join(f'bottom: "{name}"' for name in names)
        text = f'type: "Concat" {text} top: "y"'
        compare(text, [(outer, width, inner) for width in widths])
        return
    points = np.cumsum(widths)[:-1]
    text = " ".join(f'top: "{name}"' for name in names)
    cuts = " ".join(f"slice_point: {point}" for point in points)
    text = f'type: "Slice" bottom: "y" {text} slice_param {{ {cuts} }}'
    compare(text, [(outer, sum(widths), inner)])


@EXAMPLES
@given(shape=st.lists(sizes, min_size=1, max_size=3), tops=st.integers(1, 9))
def test_split(shape: list[int], tops: int) -> None:
    text = " ".join(f'top: "x_{i}"' for i in range(tops))
    compare(f'type: "Split" bottom: "x" {text}', [shape])


@EXAMPLES
@given(
    rows=st.integers(1, 40),
    classes=st.integers(1, 30),
    normalization=st.sampled_from(["", "FULL", "VALID", "BATCH_SIZE", "NONE"]),
    ignored=st.sampled_from([None, -1, 0]),
    second=st.booleans(),
    data=st.data(),
)
def test_softmax_with_loss(
    rows: int,
    classes: int,
    normalization: str,
    ignored: int | None,
    second: bool,
    data: st.DataObject,
) -> None:
    param = "" if ignored is None else f"ignore_label: {ignored} "
    param += f"normalization: {normalization}" if normalization else ""
    tops = 'top: "loss" top: "p"' if second else 'top: "loss"'
    text = f'type: "SoftmaxWithLoss" bottom: "x" bottom: "t" {tops}'
    allowed = sorted({*range(classes), *([] if ignored is None else [ignored])})
    labels = data.draw(st.lists(st.sampled_from(allowed), min_size=rows, max_size=rows))
    compare(
        f"{text} loss_param {{ {param} }}",
        [(rows, classes), (rows,)],
        bottoms=[3 * numbers((rows, classes), 0), np.array(labels, np.float32)],
    )


@pytest.mark.parametrize("bad", [-1, 4])
def test_a_label_that_is_no_class_is_an_error(bad: int) -> None:
    text = 'name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss"'
    layer = LoneLayer(text, [(3, 4), (3,)], backend=CPU, dtype="float32")
    with pytest.raises(SpecError, match=f"holds the label {bad} at place 1"):
        layer.forward([numbers((3, 4), 0), np.array([0, bad, bad], np.float32)])


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("phase", [0, 1])
def test_dropout_draws_the_same_values(ratio: float, phase: int) -> None:
    text = (
        'type: "Dropout" bottom: "x" top: "y" '
        f"dropout_param {{ dropout_ratio: {ratio} }}"
    )
    compare(text, [(7, 33, 3)], phase=phase)


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
            "pooling_param { kernel_size: 3 stride: 2 }"
        ),
        (5, 12, 30, 31),
    ),
    "lrn": ('type: "LRN" bottom: "x" top: "y"', (5, 12, 30, 31)),
    "batch norm": ('type: "BatchNorm" bottom: "x" top: "y"', (5, 12, 30, 31)),
    "scale": ('type: "Scale" bottom: "x" top: "y"', (5, 12, 30, 31)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    text, shape = LAYERS[name]
    found = []
    for threads in (1, 2, 5):
        layer = LoneLayer(
            f'name: "layer" {text}',
            [shape],
            backend=CpuBackend(threads=threads),
            dtype="float32",
        )
        found.append(results(layer, [numbers(shape, 0)], accumulate=True))
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, want)
