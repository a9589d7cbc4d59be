"""Functions of one value: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu import CpuBackend
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers
from tests.layers.harness import LoneLayer

# By layer type: options with which its formula is tried.
LAYERS = {
    "AbsVal": [""],
    "BNLL": [""],
    "Clip": ["clip_param { min: -0.5 max: 0.75 }"],
    "ELU": ["", "elu_param { alpha: 0.3 }", "elu_param { alpha: -0.3 }"],
    "Exp": ["", "exp_param { base: 2 scale: 0.5 shift: -1.5 }"],
    "Log": ["", "log_param { base: 10 scale: 0.3 shift: 2 }"],
    "Power": [
        f"power_param {{ power: {power} scale: {scale} shift: {shift} }}"
        for power, scale, shift in [
            (1, -2, 0.5),
            (2, 0.7, -0.2),
            (3, 1, 0),
            (0.5, 1, 0),
            (-1, 0.5, 0.25),
            (-2, 1, 0),
            (1.7, 1, 0),
            (-0.3, -2, 0.5),
            (0, 2, 1),
            (2, 0, 3),
        ]
    ],
    "SeLu": [""],
    "Sigmoid": [""],
    "Swish": ["", "swish_param { beta: -1.5 }"],
    "TanH": [""],
    "Threshold": ["", "threshold_param { threshold: 0.5 }"],
}
CASES = [(name, text) for name, texts in LAYERS.items() for text in texts]
POSITIVE = {"Log", "Power"}  # infinite slopes at 0, and none below
LIMITS = [0.0, -0.0, 1.0, -1.0, 2e-42, -2e-42, 3e38, -3e38, np.inf, -np.inf, np.nan]


def without_constants(case: tuple[str, str]) -> bool:
    """Whether y depends on x, so that the layer is compiled."""
    return "power: 0 " not in case[1] and "scale: 0 " not in case[1]


COMPILED = list(filter(without_constants, CASES))


@EXAMPLES
@given(
    case=st.sampled_from(COMPILED),
    shape=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    in_place=st.booleans(),
)
def test_functions(case: tuple[str, str], shape: list[int], in_place: bool) -> None:
    name, text = case
    x = numbers(shape, 1)
    if name in POSITIVE:
        x = np.abs(x) + np.float32(0.5)
    top = "x" if in_place and reads_output(name, text) else "y"
    with np.errstate(all="ignore"):
        compare(f'type: "{name}" bottom: "x" top: "{top}" {text}', [shape], bottoms=[x])


def reads_output(name: str, text: str) -> bool:
    """Whether the gradient does not read x, so that the layer may be in place."""
    layer = LoneLayer(f'type: "{name}" {text}', [(3, 4)], backend=PORTABLE)
    return not layer.op.backward_bottoms


def run(
    backend: CpuBackend, case: tuple[str, str], x: np.ndarray, dy: np.ndarray
) -> list[np.ndarray]:
    name, text = case
    layer = LoneLayer(
        f'type: "{name}" {text}', [x.shape], backend=backend, dtype="float32"
    )
    tops = layer.forward([x])
    if not any(layer.differentiable):
        return tops
    (dx,), _ = layer.backward([dy])
    assert dx is not None
    return [*tops, dx]


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_number_or_on_an_edge(case: tuple[str, str]) -> None:
    limits = np.array(LIMITS, np.float32)
    edges = {"Clip": [-0.5, 0.75], "Threshold": [0.5]}.get(case[0], [])
    x = np.concatenate([limits, np.array(edges, np.float32)])
    dy = np.resize(np.float32([2, np.inf, -3, np.nan, 0]), (5, x.size))
    x = np.broadcast_to(x, dy.shape).copy()
    dy = np.array([np.roll(row, i) for i, row in enumerate(dy)])
    with np.errstate(all="ignore"):
        fast, slow = run(CPU, case, x, dy), run(PORTABLE, case, x, dy)
    for got, want in zip(fast, slow, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-44)


@pytest.mark.parametrize("case", COMPILED)
def test_functions_are_divided_among_threads(case: tuple[str, str]) -> None:
    shape = (7, 3000)
    x, dy = np.abs(numbers(shape, 1)) + np.float32(0.1), numbers(shape, 2)
    want = run(CpuBackend(threads=1), case, x, dy)
    for threads in (2, 5):
        for got, one in zip(run(CpuBackend(threads), case, x, dy), want, strict=True):
            np.testing.assert_array_equal(got, one)


@EXAMPLES
@given(
    shape=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    shared=st.booleans(),
    in_place=st.booleans(),
    accumulate=st.booleans(),
    wanted=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_prelu(
    shape: list[int],
    shared: bool,
    in_place: bool,
    accumulate: bool,
    wanted: tuple[bool, bool],
) -> None:
    top = "x" if in_place else "y"
    param = f"prelu_param {{ channel_shared: {str(shared).lower()} }}"
    compare(
        f'type: "PReLU" bottom: "x" top: "{top}" {param}',
        [shape],
        accumulate=accumulate,
        wanted_bottoms=[wanted[0]],
        wanted_params=[wanted[1]],
    )
