"""Compiled kernels give the same bits on any number of threads, in their arrays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.machine.thread_pool import ThreadPool
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import LAYERS, numbers, results
from tests.backends.cpu.shuffled import ShuffledPool
from tests.layers.harness import LoneLayer


@pytest.mark.parametrize("name", LAYERS)
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    text, shape = LAYERS[name]
    found = []
    for threads in (1, 2, 5):
        layer = LoneLayer(
            f'name: "layer" {text}',
            [shape],
            backend=FencedBackend(threads),
            dtype="float32",
        )
        found.append(results(layer, [numbers(shape, 0)], accumulate=True))
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", LAYERS)
def test_no_bit_depends_on_who_does_which_share_and_when(name: str) -> None:
    text, shape = LAYERS[name]
    found = []
    for seed in range(4):
        backend = FencedBackend(threads=3)
        if seed:
            vars(backend)["_thread_pool"] = ShuffledPool(3, seed)
        layer = LoneLayer(
            f'name: "layer" {text}', [shape], backend=backend, dtype="float32"
        )
        found.append(results(layer, [numbers(shape, 0)], accumulate=True))
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, want)


# Those whose threads have a room each in scratch memory.
ROOMS = ("direct", "winograd", "depthwise", "deconvolution", "pooling", "lrn")


@pytest.mark.parametrize("name", ROOMS)
def test_fences_show_threads_that_have_no_room(name: str) -> None:
    text, shape = LAYERS[name]
    backend = FencedBackend(threads=2, fence_bytes=1 << 23)
    vars(backend)["_thread_pool"] = ShuffledPool(3)
    layer = LoneLayer(
        f'name: "layer" {text}', [shape], backend=backend, dtype="float32"
    )
    with pytest.raises(AssertionError, match=r"beside an array of .* of its end on"):
        results(layer, [numbers(shape, 0)], accumulate=True)


def test_a_backend_has_as_many_threads_as_its_kernels_have_rooms_for() -> None:
    backend = CpuBackend(threads=2)
    assert backend.thread_pool.size == backend.threads == 2
    assert backend.thread_pool is backend.thread_pool
    for name, value in (("threads", 3), ("thread_pool", ThreadPool(3))):
        with pytest.raises(AttributeError):
            setattr(backend, name, value)
