"""Compiled kernels give the same bits on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from runtime.backends.cpu import CpuBackend
from tests.backends.cpu.oracle import LAYERS, numbers, results
from tests.layers.harness import LoneLayer


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
