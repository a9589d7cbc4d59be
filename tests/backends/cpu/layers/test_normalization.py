"""BatchNorm, Scale and Bias: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import runtime
from tests.backends.cpu.oracle import EXAMPLES, compare

sizes = st.integers(1, 20)
small = st.integers(1, 5)


@EXAMPLES
@given(
    shape=st.tuples(st.integers(2, 5), sizes, small, sizes),
    kind=st.sampled_from(["", "batch_norm_param { use_global_stats: true }"]),
    in_place=st.booleans(),
)
def test_batch_norm(shape: tuple[int, ...], kind: str, in_place: bool) -> None:
    top = "x" if in_place else "y"
    compare(f'type: "BatchNorm" bottom: "x" top: "{top}" {kind}', [shape])


FORKS = [
    "BatchNorm batch_norm_param { scale_bias: true eps: 0.01 }",
    "BatchNorm batch_norm_param { scale_bias: true use_global_stats: true }",
    "BatchNorm batch_norm_param { use_weight_bias: true bias_term: false }",
    "BatchNorm batch_norm_param { update_global_stats: false }",
    "BN bn_param { momentum: 0.7 }",
    "BN bn_param { frozen: true eps: 0.5 }",
    "BN bn_param { bn_mode: LEARN }",
    "BN bn_param { bn_mode: INFERENCE }",
]


@EXAMPLES
@given(
    shape=st.tuples(st.integers(2, 5), sizes, st.integers(2, 5), sizes),
    kind=st.sampled_from(FORKS),
    in_place=st.booleans(),
    accumulate=st.booleans(),
)
def test_normalizations_of_forks(
    shape: tuple[int, ...], kind: str, in_place: bool, accumulate: bool
) -> None:
    name, _, options = kind.partition(" ")
    top = "x" if in_place else "y"
    text = f'type: "{name}" bottom: "x" top: "{top}" {options}'
    compare(text, [shape], accumulate=accumulate)


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


@pytest.mark.parametrize("kind", FORKS)
@pytest.mark.parametrize("phase", [runtime.TRAIN, runtime.TEST])
def test_normalizations_of_forks_between_a_convolution_and_a_relu(
    kind: str, phase: int
) -> None:
    name, _, options = kind.partition(" ")
    text = f"""
        layer {{ name: "x" type: "Input" top: "x"
                input_param {{ shape {{ dim: 3 dim: 4 dim: 9 dim: 8 }} }} }}
        layer {{ name: "conv" type: "Convolution" bottom: "x" top: "y"
                convolution_param {{ num_output: 6 kernel_size: 3
                                    weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "n" type: "{name}" bottom: "y" top: "y" {options} }}
        layer {{ name: "relu" type: "ReLU" bottom: "y" top: "y" }}
    """
    if phase == runtime.TRAIN:
        text += """
            layer { name: "square" type: "Power" bottom: "y" top: "square"
                    loss_weight: 1 power_param { power: 2 } }
        """
    found = []
    for backend in ("numpy", "portable"):
        net = runtime.Net(text, phase, seed=3, backend=backend)
        rng = np.random.default_rng(5)
        for blob in net.params["n"]:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
        net.blobs["x"].data[...] = rng.normal(size=net.blobs["x"].data.shape)
        net.forward()
        net.backward()
        arrays = [net.blobs["y"].data, *(blob.data for blob in net.params["n"])]
        arrays += [blob.diff for blobs in net.params.values() for blob in blobs]
        found.append([np.array(each) for each in arrays])
    largest = max(np.abs(each).max() for each in found[1])
    for fast, slow in zip(*found, strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=3e-6 * largest)
