"""LRN on the device against the portable kernel."""

import numpy as np
import pytest

from runtime.backends.cuda.layers.lrn import LRN
from tests.backends.cuda.oracle import PORTABLE, PlacedLayer, check_own
from tests.layers.harness import LoneLayer

SHAPES = [(2, 7, 3, 4), (3, 16, 5, 2), (1, 40, 9, 17), (2, 3, 1, 1), (0, 4, 2, 3)]
REGIONS = ["ACROSS_CHANNELS", "WITHIN_CHANNEL"]


def text_of(region, size, beta=0.75, k=2.25):
    return (
        f'type: "LRN" lrn_param {{ norm_region: {region} local_size: {size} '
        f"alpha: 1.5 beta: {beta} k: {k} }}"
    )


@pytest.mark.parametrize(
    "size, precision",
    [  # the window of 11 is too long for registers
        *((size, "float32") for size in (1, 3, 5, 9, 11)),
        *((3, "bf16"), (11, "bf16"), (5, "fp16"), (11, "fp16")),
    ],
)
@pytest.mark.parametrize("region", REGIONS)
def test_it_is_the_portable_one(cuda, region, size, precision):
    text = text_of(region, size)
    for shape in SHAPES:
        check_own(cuda, text, [shape], precision=precision, own=LRN, order="last")
    check_own(cuda, text, [SHAPES[0]], precision=precision, own=LRN)


@pytest.mark.parametrize("beta", [0.5, 0.25, 0.6, 1.25])
@pytest.mark.parametrize("region", REGIONS)
def test_every_exponent(cuda, region, beta):
    check_own(cuda, text_of(region, 5, beta), [(2, 12, 5, 6)], own=LRN, order="last")


@pytest.mark.parametrize("region", REGIONS)
def test_a_window_longer_than_its_axis(cuda, region):
    check_own(cuda, text_of(region, 15), [(2, 4, 3, 2)], own=LRN, order="last")


@pytest.mark.parametrize("region", REGIONS)
def test_several_tiles(cuda, region):
    for shape in [(1, 300, 2, 5), (2, 4, 40, 37)]:
        check_own(cuda, text_of(region, 3), [shape], own=LRN, order="last", runs=2)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_infinities_and_nan_spread_as_in_the_portable_kernel(cuda, region, beta):
    x = np.random.default_rng(3).normal(size=(2, 12, 4, 5)).astype("float32")
    x[0, 5, 1, 2], x[1, 6, 2, 2] = np.inf, np.nan
    x[1, 1, 3, 3] = 1e20  # its square is infinite
    text = text_of(region, 5, beta)
    mine = PlacedLayer(text, [x.shape], backend=cuda, dtype="float32").forward([x])
    other = LoneLayer(text, [x.shape], backend=PORTABLE, dtype="float32")
    with np.errstate(over="ignore", invalid="ignore"):
        want = other.forward([x])
    np.testing.assert_allclose(mine[0], want[0], rtol=1e-5, atol=1e-6)
