"""Softmax by itself on the device against the portable kernel."""

import numpy as np
import pytest

from runtime.backends.cuda.layers.softmax import Softmax
from tests.backends.cuda.oracle import PORTABLE, PlacedLayer, check_own
from tests.layers.harness import LoneLayer

CASES = [
    (1, (3, 7)),
    (1, (300, 10)),  # more rows than a block of short ones takes
    (1, (3, 33)),  # longer than these
    (1, (2, 1000)),
    (1, (2, 1500)),
    (1, (1, 9000)),
    (1, (2, 5, 3, 4)),
    (1, (2, 40, 6, 11)),
    (0, (5, 3)),
    (0, (5, 3, 2, 4)),
    (2, (2, 3, 5)),
    (2, (2, 3, 5, 4)),
    (3, (2, 3, 5, 34)),
    (1, (0, 4)),
    (1, (4, 1)),
]


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("axis, shape", CASES)
def test_along_an_axis(cuda, axis, shape, precision):
    text = f'type: "Softmax" softmax_param {{ axis: {axis} }}'
    for order in ("last", "first"):
        check_own(
            cuda, text, [shape], precision=precision, own=Softmax, order=order, runs=2
        )


@pytest.mark.parametrize("axis, shape", CASES[:3] + CASES[6:10])
def test_in_place(cuda, axis, shape):
    text = f'type: "Softmax" bottom: "x" top: "x" softmax_param {{ axis: {axis} }}'
    for order in ("last", None):
        check_own(cuda, text, [shape], own=Softmax, order=order)


@pytest.mark.parametrize("shape", [(4, 6), (4, 50), (4, 6, 3)])
def test_huge_scores_infinities_and_nan(cuda, shape):
    x = np.random.default_rng(6).normal(size=shape).astype("float32")
    x[0, 1], x[0, 2] = 1000, -1000
    x[1, 1] = np.nan
    x[2, 2] = -np.inf
    x[3, 3] = np.inf
    mine, other = (
        made('type: "Softmax"', [shape], backend=backend, dtype="float32")
        for made, backend in ((PlacedLayer, cuda), (LoneLayer, PORTABLE))
    )
    with np.errstate(invalid="ignore"):
        want = other.forward([x])[0]
    np.testing.assert_allclose(mine.forward([x])[0], want, rtol=1e-6)
