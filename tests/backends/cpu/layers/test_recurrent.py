"""LSTM and RNN: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import runtime
from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.layers import recurrent_base
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer

STATES = {"LSTM": 2, "RNN": 1}


def text(type_: str, units: int, exposed: bool = False) -> str:
    tops = " ".join(f'top: "top{n}"' for n in range(1 + exposed * STATES[type_]))
    return (
        f'type: "{type_}" {tops} recurrent_param {{ num_output: {units} '
        f"expose_hidden: {str(exposed).lower()} }}"
    )


def random_cont(steps: int, streams: int, seed: int, fractions: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cont = rng.random((steps, streams))
    return (cont if fractions else cont > 0.2).astype(np.float32)


@EXAMPLES
@pytest.mark.parametrize("type_", STATES)
@given(
    steps=st.integers(1, 9),
    streams=st.integers(1, 27),
    inputs=st.integers(1, 40),
    units=st.integers(1, 70),
    static=st.integers(0, 20),
    exposed=st.booleans(),
    fractions=st.booleans(),
    accumulate=st.booleans(),
)
def test_sequences(
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    steps: int,
    streams: int,
    inputs: int,
    units: int,
    static: int,
    exposed: bool,
    fractions: bool,
    accumulate: bool,
) -> None:
    monkeypatch.setattr(recurrent_base, "CHUNK_FLOATS", 2000)  # few steps
    state = (1, streams, units)
    shapes = [(steps, streams, inputs), (steps, streams)]
    shapes += [(streams, static)] if static else []
    shapes += [state] * STATES[type_] * exposed
    bottoms = [numbers(shape, i) for i, shape in enumerate(shapes)]
    bottoms[1] = random_cont(steps, streams, units, fractions)
    compare(
        text(type_, units, exposed),
        shapes,
        accumulate=accumulate,
        bottoms=bottoms,
        weights=1 / max(4, units**0.5),
    )


@pytest.mark.parametrize("type_", STATES)
def test_many_streams_take_panels_in_parts(type_: str) -> None:
    shapes = [(3, 41, 20), (3, 41)]
    bottoms = [numbers(shapes[0], 1), random_cont(3, 41, 2, True)]
    compare(text(type_, 290), shapes, bottoms=bottoms, weights=0.05)


@pytest.mark.parametrize("type_", STATES)
def test_bits_do_not_depend_on_threads(type_: str) -> None:
    shapes = [(7, 21, 130), (7, 21)]
    bottoms = [numbers(shapes[0], 1), random_cont(7, 21, 3, True)]
    made = []
    for threads in (1, 2, 5):
        backend = CpuBackend(threads)
        layer = LoneLayer(text(type_, 90), shapes, backend=backend, dtype="float32")
        made.append(results(layer, bottoms, True))
    for other in made[1:]:
        for one, two in zip(made[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("type_", STATES)
def test_states_go_on_from_pass_to_pass(type_: str) -> None:
    shapes = [(3, 5, 11), (3, 5)]
    fast, slow = (
        LoneLayer(text(type_, 37), shapes, backend=backend, dtype="float32")
        for backend in (CPU, PORTABLE)
    )
    params = [0.2 * numbers(one.shape, 9) for one in fast.bound.params]
    for turn in range(3):
        bottoms = [numbers(shapes[0], turn), random_cont(3, 5, turn, False)]
        (got,), (want,) = (one.forward(bottoms, params) for one in (fast, slow))
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("type_", STATES)
def test_packed_weights_are_kept_in_use_and_follow_the_parameters(
    monkeypatch: pytest.MonkeyPatch, type_: str
) -> None:
    monkeypatch.setattr(recurrent_base, "CHUNK_FLOATS", 1200)
    net = runtime.Net(NET.format(type_=type_), runtime.TEST, seed=2)
    slow = runtime.Net(NET.format(type_=type_), runtime.TEST, backend="portable")
    for turn in range(3):
        for name in ("x", "cont"):
            values = numbers(net.blobs[name].shape, turn)
            for one in (net, slow):
                one.blobs[name].data[...] = values > 0 if name == "cont" else values
        for mine, other in zip(net.params["y"], slow.params["y"], strict=True):
            mine.data[...] += 0.1 * turn
            other.data[...] = mine.data
        for _ in range(2):
            got, want = (one.forward()["y"] for one in (net, slow))
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


NET = """
    layer {{ name: "x" type: "Input" top: "x"
             input_param {{ shape {{ dim: 5 dim: 3 dim: 20 }} }} }}
    layer {{ name: "cont" type: "Input" top: "cont"
             input_param {{ shape {{ dim: 5 dim: 3 }} }} }}
    layer {{ name: "y" type: "{type_}" bottom: "x" bottom: "cont" top: "y"
             recurrent_param {{ num_output: 40
                                weight_filler {{ type: "xavier" }} }} }}
"""


@pytest.mark.parametrize("type_", STATES)
def test_numbers_that_are_none_stay_in_their_stream(type_: str) -> None:
    shapes = [(3, 9, 6), (3, 9)]
    x = numbers(shapes[0], 1)
    x[1, 4, 2], x[1, 7, 0] = np.nan, np.inf
    layers = [
        LoneLayer(text(type_, 20), shapes, backend=backend, dtype="float32")
        for backend in (CPU, PORTABLE)
    ]
    params = [0.2 * numbers(one.shape, 9) for one in layers[0].bound.params]
    (got,), (want,) = (one.forward([x, np.ones((3, 9))], params) for one in layers)
    assert np.isnan(want).any()
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)
