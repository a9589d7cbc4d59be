"""Pooling on the device against the portable kernel."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.backends.cuda.layers.pooling import Pooling
from tests.backends.cuda.oracle import PORTABLE, PlacedLayer, check_own
from tests.layers.harness import LoneLayer

CASES = {
    "overlapping": "kernel_size: 3 stride: 2",
    "overlapping and padded": "kernel_size: 3 stride: 2 pad: 1",
    "every place": "kernel_size: 3 stride: 1 pad: 1",
    "different along h and w": (
        "kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 2"
    ),
    "apart": "kernel_size: 2 stride: 3",
    "rounded down": "kernel_size: 2 stride: 3 round_mode: FLOOR",
    "long": "kernel_h: 7 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 3 pad_w: 1",
    "global": "global_pooling: true",
}


def text_of(how, case, tops=""):
    return f'type: "Pooling" {tops} pooling_param {{ pool: {how} {case} }}'


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", ["MAX", "AVE"])
def test_it_is_the_portable_one(cuda, how, case, precision):
    for shape in [(2, 3, 7, 8), (3, 16, 10, 7), (1, 40, 13, 8)]:
        text = text_of(how, CASES[case])
        # Blobs that lie as Caffe has them are converted around the same launches.
        for order in ("last", None) if case == "overlapping" else ("last",):
            check_own(
                cuda, text, [shape], precision=precision, own=Pooling, order=order
            )


@pytest.mark.parametrize("how", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("shape", "case"),
    [
        ((2, 8, 19, 23), "global_pooling: true"),
        ((2, 5, 19, 23), "global_pooling: true"),
        ((1, 12, 17, 21), "kernel_size: 9 stride: 4 pad: 3"),
        ((1, 3, 5, 40), "kernel_h: 1 kernel_w: 12 stride: 1"),
        ((2, 300, 2, 3), "kernel_size: 2 stride: 1"),  # several tiles of channels
        ((2, 1, 70, 41), "kernel_size: 2 stride: 2"),  # several tiles of places
        ((1, 3, 301, 3), "kernel_h: 300 kernel_w: 1"),  # winners of 16 bits
        ((2, 4, 140, 83), "kernel_size: 5 stride: 2"),  # enough windows, a thread each
        ((1, 1, 1, 1), "kernel_size: 1"),
    ],
)
def test_large_windows_and_edges_of_blocks(cuda, how, shape, case):
    check_own(cuda, text_of(how, case), [shape], own=Pooling, order="last", runs=2)


sizes = st.integers(1, 9)


@settings(max_examples=12, deadline=None)
@given(
    how=st.sampled_from(["MAX", "AVE"]),
    shape=st.tuples(sizes, st.sampled_from([1, 3, 4, 8, 20]), sizes, sizes),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    precision=st.sampled_from(["float32", "bf16"]),
)
def test_random_windows(cuda, how, shape, kernel, stride, pads, precision):
    (kh, kw), (sh, sw) = kernel, stride
    ph, pw = (min(pad, size - 1) for pad, size in zip(pads, kernel, strict=True))
    for size, k, s, p in zip(shape[2:], kernel, stride, (ph, pw), strict=True):
        windows = -(-(size + 2 * p - k) // s) + 1
        assume(size + 2 * p >= k)
        assume((windows - 1) * s < size + p)  # none lies beyond the image
    case = (
        f"kernel_h: {kh} kernel_w: {kw} stride_h: {sh} stride_w: {sw} "
        f"pad_h: {ph} pad_w: {pw}"
    )
    check_own(
        cuda,
        text_of(how, case),
        [shape],
        precision=precision,
        own=Pooling,
        order="last",
        runs=2,
    )


@pytest.mark.parametrize(
    ("shape", "case"),
    [
        ((2, 8, 6, 7), "kernel_size: 3 stride: 2 pad: 1"),
        ((2, 3, 12, 9), "kernel_size: 9 stride: 2 pad: 4"),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_mask_is_the_place_of_the_maximum(cuda, shape, case, precision):
    text = text_of("MAX", case, 'top: "y" top: "mask"')
    for order in ("last", None):
        check_own(cuda, text, [shape], precision=precision, own=Pooling, order=order)


def one_of(cuda, text, x):
    """Return y and dx of the own and of the portable kernel, dy being 1, 2, 3, ..."""
    results = []
    for layer in (
        PlacedLayer(text, [x.shape], backend=cuda, dtype="float32"),
        LoneLayer(text, [x.shape], backend=PORTABLE, dtype="float32"),
    ):
        (y,) = layer.forward([x])
        dy = np.arange(1.0, y.size + 1).reshape(y.shape)
        (dx,), _ = layer.backward([dy])
        results.append((y, dx))
    return results


@pytest.mark.parametrize(
    "case", ["kernel_size: 3 stride: 2", "kernel_size: 9 stride: 3 pad: 4"]
)
def test_the_first_of_equal_maxima_wins(cuda, case):
    x = np.random.default_rng(2).integers(0, 3, size=(2, 4, 11, 12)).astype("float32")
    mine, other = one_of(cuda, text_of("MAX", case), x)
    np.testing.assert_array_equal(mine[0], other[0])
    np.testing.assert_array_equal(mine[1], other[1])


@pytest.mark.parametrize(
    "case", ["kernel_size: 3 stride: 2", "kernel_size: 9 stride: 3 pad: 4"]
)
@pytest.mark.parametrize("how", ["MAX", "AVE"])
def test_nan_and_infinities(cuda, how, case):
    x = np.random.default_rng(2).normal(size=(2, 4, 11, 12)).astype("float32")
    x[0, 1, 5, 6] = np.nan
    x[0, 2, 5, 6] = np.inf
    if "pad" not in case:
        x[1, 0] = -np.inf
    x[1, 1, :4] = -np.inf
    mine, other = one_of(cuda, text_of(how, case), x)
    np.testing.assert_array_equal(np.isfinite(mine[0]), np.isfinite(other[0]))
    np.testing.assert_allclose(mine[0], other[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mine[1], other[1], rtol=1e-6)


@pytest.mark.parametrize("how", ["MAX", "AVE"])
def test_a_window_beyond_the_image_is_empty(cuda, how):
    x = np.ones((1, 2, 8, 3), "float32")
    mine, other = one_of(cuda, text_of(how, "kernel_size: 2 stride: 4"), x)
    assert np.isin(mine[0][0, 0, :, -1], [0, np.finfo("float32").min]).all()
    for one, two in zip(mine, other, strict=True):
        np.testing.assert_array_equal(one, two)


def test_winners_of_32_bits(cuda):
    x = np.zeros((1, 2, 257, 256), "float32")
    x[0, 0, 0, 3], x[0, 1, 256, 255] = 2, 5
    mine, _ = one_of(cuda, text_of("MAX", "global_pooling: true"), x)
    np.testing.assert_array_equal(mine[0].ravel(), [2, 5])
    assert mine[1].sum() == 3
    assert mine[1][0, 0, 0, 3] == 1
    assert mine[1][0, 1, 256, 255] == 2


def test_no_images(cuda):
    check_own(cuda, text_of("MAX", "kernel_size: 2"), [(0, 4, 5, 6)], own=Pooling)


def test_a_maximum_alone_is_computed_without_winners(cuda):
    text = text_of("MAX", "kernel_size: 2")
    layer = PlacedLayer(
        text, [(2, 4, 5, 6)], backend=cuda, dtype="float32", wanted_bottoms=[False]
    )
    x = np.random.default_rng(4).normal(size=(2, 4, 5, 6)).astype("float32")
    (y,) = layer.forward([x])
    assert not layer.kernel.arrays()
    np.testing.assert_array_equal(y[..., 0, 0], x[..., :2, :2].max((2, 3)))
