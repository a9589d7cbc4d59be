"""Gradients of layers whose options have any sign, in place or not, among neighbours.

Each net is checked against central differences in float64, and the gradients of its
float32 kernels, compiled and portable, are compared with those.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runtime
from runtime import check_gradients

EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TOLERANCE = 2e-4  # of the largest gradient of an array, for float32
SHAPE = (3, 4, 5, 6)

signed = st.sampled_from([-1.5, -0.5, 0.0, 0.4, 1.25])
nonzero = st.sampled_from([-1.5, -0.5, 0.4, 1.25])


def option(kind: str, param: str, **strategies):
    """Draw the text of a layer with options."""
    return st.fixed_dictionaries(strategies).map(
        lambda drawn: (
            f'type: "{kind}" {param} {{ '
            + " ".join(f"{name}: {value}" for name, value in drawn.items())
            + " }"
        )
    )


MILD = st.one_of(
    option("ReLU", "relu_param", negative_slope=signed),
    option("ELU", "elu_param", alpha=signed),
    option("Swish", "swish_param", beta=signed),
    st.sampled_from([(-0.9, -0.2), (-0.7, 0.6), (0.1, 1.1)]).map(
        lambda two: f'type: "Clip" clip_param {{ min: {two[0]} max: {two[1]} }}'
    ),
    st.tuples(nonzero, st.booleans()).map(
        lambda two: (
            f'type: "PReLU" prelu_param {{ filler {{ value: {two[0]} }} '
            f"channel_shared: {str(two[1]).lower()} }}"
        )
    ),
    st.tuples(nonzero, st.booleans()).map(
        lambda two: (
            f'type: "Scale" scale_param {{ filler {{ value: {two[0]} }} '
            f"bias_term: {str(two[1]).lower()} }}"
        )
    ),
    st.sampled_from(["AbsVal", "BNLL", "Sigmoid", "TanH", "Softmax", "Bias"]).map(
        lambda kind: f'type: "{kind}"'
    ),
    option("Dropout", "dropout_param", dropout_ratio=st.sampled_from([0.3, 0.6])),
    option("BatchNorm", "batch_norm_param", eps=st.just(0.1)),
)
GROWING = st.one_of(  # at the lower end of a chain only
    option(
        "Power",
        "power_param",
        power=st.sampled_from([0, 1, 2, 3]),
        scale=signed,
        shift=signed,
    ),
    option(
        "Exp",
        "exp_param",
        base=st.sampled_from([0.5, 2, -1]),
        scale=st.sampled_from([-0.3, 0.0, 0.2]),
        shift=signed,
    ),
    option(
        "Log",
        "log_param",
        base=st.sampled_from([0.5, 2, -1]),
        scale=st.sampled_from([-0.3, 0.2]),
        shift=st.just(20),
    ),
)
ONE_TO_ONE = st.one_of(MILD, GROWING)
NOT_IN_PLACE = st.one_of(
    option(
        "Pooling",
        "pooling_param",
        pool=st.sampled_from(["MAX", "AVE"]),
        kernel_size=st.just(3),
        stride=st.sampled_from([1, 2]),
        pad=st.sampled_from([0, 1]),
    ),
    option(
        "LRN",
        "lrn_param",
        local_size=st.just(3),
        alpha=st.sampled_from([-0.02, 0.5]),
        beta=st.sampled_from([-0.75, 0.75]),
        k=st.sampled_from([1.0, 2.0]),
    ),
    option(
        "Reduction",
        "reduction_param",
        operation=st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"]),
        axis=st.just(2),
        coeff=signed,
    ),
    st.just('type: "MVN" mvn_param { normalize_variance: false }'),
)
BELOW = st.sampled_from(
    [
        'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 }',
        'type: "BatchNorm" batch_norm_param { eps: 0.1 }',
        'type: "ReLU" relu_param { negative_slope: 0.5 }',
        'type: "Power" power_param { scale: -1.5 shift: 0.1 }',
        "",
    ]
)


@st.composite
def chains(draw):
    """Draw layers from x to y, one after another, most of them in place."""
    found = []
    blob = "x"
    below = draw(BELOW)
    if below:
        found.append(f'name: "below" {below} bottom: "x" top: "h"')
        blob = "h"
    for index in range(draw(st.integers(1, 3))):
        top = blob if draw(st.booleans()) else f"t{index}"
        text = draw(MILD if index else ONE_TO_ONE)
        found.append(f'name: "one{index}" {text} bottom: "{blob}" top: "{top}"')
        blob = top
    if draw(st.booleans()):
        text = draw(NOT_IN_PLACE)
        found.append(f'name: "last" {text} bottom: "{blob}" top: "last"')
        blob = "last"
    return [*found, *loss(blob, draw(nonzero))]


def loss(blob: str, weight: float) -> list[str]:
    """Return the layers of an objective whose slope differs from place to place."""
    dot = f'name: "dot" type: "InnerProduct" bottom: "{blob}" top: "dot" '
    dot += "inner_product_param { num_output: 2 axis: 0 }"
    square = 'name: "loss" type: "Reduction" bottom: "dot" top: "loss" '
    square += f"loss_weight: {weight} reduction_param {{ operation: SUMSQ coeff: 0.1 }}"
    return [dot, square]


def net(layers: list[str]) -> str:
    dims = " ".join(f"dim: {size}" for size in SHAPE)
    shape = f"input_param {{ shape {{ {dims} }} }}"
    first = f'name: "in" type: "Input" top: "x" {shape}'
    every = "\n".join(f"layer {{ {one} }}" for one in (first, *layers))
    return f"force_backward: true\n{every}"


def gradients(text: str, values: np.ndarray, backend: str, dtype: str) -> dict:
    """Return the gradients of the input and of all parameters."""
    made = runtime.Net(text, runtime.TRAIN, backend=backend, dtype=dtype)
    rng = np.random.default_rng(3)
    for blobs in made.params.values():
        for blob in blobs:
            noise = 0.3 * rng.normal(size=blob.shape)
            blob.data[...] += noise if np.any(blob.data) or blob.data.ndim > 1 else 0
    made.blobs["x"].data[...] = values
    made.forward_backward()
    found = {"x": made.blobs["x"].diff.copy()}
    for name, blobs in made.params.items():
        for slot, blob in enumerate(blobs):
            found[f"{name}[{slot}]"] = blob.diff.copy()
    return found


def check(layers: list[str]) -> None:
    text = net(layers)
    values = np.random.default_rng(1).normal(size=SHAPE)
    result = check_gradients(text, inputs={"x": values}, samples=6)
    assert result.ok, f"{text}\n{result}"
    wanted = gradients(text, values, "portable", "float64")
    largest = max(float(np.max(np.abs(want), initial=0)) for want in wanted.values())
    for backend in ("portable", "numpy"):
        found = gradients(text, values, backend, "float32")
        for name, want in wanted.items():
            limit = TOLERANCE * max(0.01, largest / 100, np.max(np.abs(want)))
            message = f"{text}\n{backend}: {name}"
            np.testing.assert_allclose(
                found[name], want, rtol=0, atol=limit, err_msg=message
            )


@EXAMPLES
@given(chains())
def test_layers_one_above_another(layers):
    check(layers)


@EXAMPLES
@given(
    st.sampled_from(["SUM", "PROD", "MAX"]),
    st.tuples(nonzero, nonzero),
    ONE_TO_ONE,
    st.booleans(),
    st.booleans(),
)
def test_a_sum_a_product_or_a_maximum_of_two(kind, coeff, text, stable, in_place):
    more = f"coeff: {coeff[0]} coeff: {coeff[1]}" if kind == "SUM" else ""
    more += f" stable_prod_grad: {str(stable).lower()}" if kind == "PROD" else ""
    top = "y" if in_place else "z"
    a = 'name: "a" type: "Power" bottom: "x" top: "a" power_param { scale: -0.7 }'
    b = 'name: "b" type: "TanH" bottom: "x" top: "b"'
    two = 'name: "two" type: "Eltwise" bottom: "a" bottom: "b" top: "y"'
    two += f" eltwise_param {{ operation: {kind} {more} }}"
    after = f'name: "after" {text} bottom: "y" top: "{top}"'
    check([a, b, two, after, *loss(top, -0.5)])


@pytest.mark.parametrize("scale", [-1.25, 0.75])
@pytest.mark.parametrize("slope", [0, -0.5, 0.25])
def test_a_normalized_convolution_that_is_rectified(scale, slope):
    place = 'bottom: "y" top: "y"'
    conv = 'name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param { '
    conv += "num_output: 6 kernel_size: 3 bias_term: false }"
    norm = f'name: "bn" type: "BatchNorm" {place} batch_norm_param {{ eps: 0.01 }}'
    stretch = f'name: "scale" type: "Scale" {place} scale_param {{ bias_term: true '
    stretch += f"filler {{ value: {scale} }} }}"
    relu = f'name: "relu" type: "ReLU" {place} relu_param {{ negative_slope: {slope} }}'
    check([conv, norm, stretch, relu, *loss("y", 1)])
