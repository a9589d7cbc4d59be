"""LSTMUnit: the compiled kernel against the portable one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import runtime
from runtime.backends.cpu import CpuBackend
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer

UNIT = 'type: "LSTMUnit" top: "c" top: "h"'


def random_bottoms(streams: int, units: int, spread: float) -> list[np.ndarray]:
    c = numbers((1, streams, units), 1)
    gates = np.float32(spread) * numbers((1, streams, 4 * units), 2)
    cont = np.random.default_rng(3).random((1, streams)).astype(np.float32)
    cont[0, ::2] = np.round(cont[0, ::2])
    return [c, gates, cont]


@EXAMPLES
@given(
    streams=st.integers(1, 40),
    units=st.integers(1, 70),
    spread=st.sampled_from([1e-3, 1.0, 6.0, 60.0]),
    threads=st.integers(1, 3),
)
def test_one_step(streams: int, units: int, spread: float, threads: int) -> None:
    bottoms = random_bottoms(streams, units, spread)
    shapes = [one.shape for one in bottoms]
    compare(UNIT, shapes, bottoms=bottoms, backend=FencedBackend(threads))


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False)])
def test_a_gradient_that_nobody_wants(wanted: tuple[bool, ...]) -> None:
    bottoms = random_bottoms(5, 19, 1.0)
    shapes = [one.shape for one in bottoms]
    backend = FencedBackend(2)
    compare(UNIT, shapes, bottoms=bottoms, backend=backend, wanted_bottoms=wanted)


def test_bits_do_not_depend_on_threads() -> None:
    bottoms = random_bottoms(61, 83, 2.0)
    shapes = [one.shape for one in bottoms]
    made = []
    for threads in (1, 2, 5):
        backend = CpuBackend(threads)
        layer = LoneLayer(UNIT, shapes, backend=backend, dtype="float32")
        made.append(results(layer, bottoms, False))
    for other in made[1:]:
        for one, two in zip(made[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


LARGE = [0.0, 1e-30, 9.9, 10.1, 17.5, 87.5, 88.5, 104.0, 1e4, 3e38, np.inf]


def test_gates_of_any_size() -> None:
    values = np.array([*LARGE, *(-one for one in LARGE), np.nan], np.float32)
    gates = np.concatenate([np.roll(values, 5 * k) for k in range(4)])
    bottoms = [numbers((1, 1, values.size), 1), gates[None, None], np.ones((1, 1))]
    shapes = [one.shape for one in bottoms]
    (c, h), (want_c, want_h) = (
        LoneLayer(UNIT, shapes, backend=backend, dtype="float32").forward(bottoms, [])
        for backend in (CpuBackend(1), PORTABLE)
    )
    assert np.isnan(want_h).sum() == 4
    np.testing.assert_allclose(c, want_c, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(h, want_h, rtol=1e-6, atol=1e-7)


def test_small_inputs_keep_their_digits() -> None:
    size = 500
    rng = np.random.default_rng(1)
    small = (10.0 ** rng.uniform(-30, -1, size)).astype(np.float32)
    gates = np.zeros((1, 1, 4 * size), np.float32)
    gates[0, 0, 3 * size :] = small
    bottoms = [np.zeros((1, 1, size)), gates, np.zeros((1, 1))]
    shapes = [one.shape for one in bottoms]
    layer = LoneLayer(UNIT, shapes, backend=CpuBackend(1), dtype="float32")
    c, _ = layer.forward(bottoms, [])
    np.testing.assert_allclose(c[0, 0], np.tanh(small.astype(float)) / 2, rtol=4e-7)


NET = """
    layer { name: "x" type: "Input" top: "x" top: "cont" top: "c0" top: "wanted"
            input_param { shape { dim: 1 dim: 3 dim: 44 } shape { dim: 1 dim: 3 }
                          shape { dim: 1 dim: 3 dim: 11 }
                          shape { dim: 1 dim: 3 dim: 11 } } }
    layer { name: "gates" type: "InnerProduct" bottom: "x" top: "gates"
            inner_product_param { num_output: 44 axis: 2
                                  weight_filler { type: "xavier" } } }
    layer { name: "one" type: "LSTMUnit" bottom: "c0" bottom: "gates" bottom: "cont"
            top: "c1" top: "h1" }
    layer { name: "two" type: "LSTMUnit" bottom: "c1" bottom: "gates" bottom: "cont"
            top: "c2" top: "h2" }
    layer { name: "loss" type: "EuclideanLoss" bottom: "h2" bottom: "wanted" top: "l" }
"""


def test_a_top_that_nobody_reads_has_no_gradient() -> None:
    nets = [
        runtime.Net(NET, runtime.TRAIN, seed=3, backend=backend)
        for backend in ("numpy", "portable")
    ]
    gradients = []
    for net in nets:
        for name in net.inputs:
            net.blobs[name].data[...] = numbers(net.blobs[name].shape, len(name))
        net.blobs["cont"].data[...] = 1
        net.forward()
        net.backward()
        gradients.append(net.params["gates"][0].diff.copy())
    assert np.abs(gradients[1]).max() > 1e-3
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-6)
