"""Scale and Bias against nested loops."""

import numpy as np
import pytest

from tests.layers.harness import allocated_bytes, check_layer
from tests.ops.reading import fillers, param_shapes, read, refuses


def small_at(op, place, small):
    return small[place[op.axis : op.axis + small.ndim]]


def scale(op, x, s, b=None):
    y = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        y[place] = x[place] * small_at(op, place, s)
        if b is not None:
            y[place] += small_at(op, place, b)
    return y


def bias(op, x, b):
    y = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        y[place] = x[place] + small_at(op, place, b)
    return y


AXES = ["axis: 0", "axis: 1", "axis: 1 num_axes: 2", "axis: -1", "axis: 2 num_axes: -1"]
AXES += ["num_axes: 0", "axis: 0 num_axes: -1"]
IN_PLACE = 'bottom: "x" top: "x"'


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("bias_term", ["true", "false"])
@pytest.mark.parametrize("where", ["", IN_PLACE])
def test_scale_multiplies_along_its_axes(backend, axes, bias_term, where):
    text = (
        f'type: "Scale" {where} scale_param {{ {axes} bias_term: {bias_term} '
        "filler { value: 0.5 } }"
    )
    check_layer(text, [(2, 3, 4, 5)], scale, backend=backend)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("where", ["", IN_PLACE])
def test_bias_adds_along_its_axes(backend, axes, where):
    text = f'type: "Bias" {where} bias_param {{ {axes} }}'
    check_layer(text, [(2, 3, 4, 5)], bias, backend=backend)


TWO = ['bottom: "x" bottom: "s" top: "y"', 'bottom: "x" bottom: "s" top: "x"']
SECOND = [("axis: 1", (3, 4)), ("axis: -2", (4, 5)), ("axis: 3", ()), ("axis: 0", (2,))]
SECOND += [("axis: 0 num_axes: 3", (2, 3, 4, 5))]


@pytest.mark.parametrize("where", TWO)
@pytest.mark.parametrize(("axes", "shape"), SECOND)
def test_second_bottom_takes_the_place_of_the_parameter(backend, where, axes, shape):
    shapes = [(2, 3, 4, 5), shape]
    text = f'type: "Scale" {where} scale_param {{ {axes} }}'
    check_layer(text, shapes, scale, backend=backend)
    text = f'type: "Scale" {where} scale_param {{ {axes} bias_term: true }}'
    check_layer(text, shapes, scale, backend=backend)
    text = f'type: "Bias" {where} bias_param {{ {axes} }}'
    check_layer(text, shapes, bias, backend=backend)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("where", ["", IN_PLACE])
def test_steps_allocate_nothing(backend, axes, where):
    for text in (
        f'type: "Scale" {where} scale_param {{ {axes} bias_term: true }}',
        f'type: "Bias" {where} bias_param {{ {axes} }}',
    ):
        assert allocated_bytes(text, [(4, 16, 40, 30)], backend=backend) < 4096


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2, 5)])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_eltwise_affine(backend, shared, shape, place):
    def affine(op, x, factor, bias):
        y = np.empty_like(x)
        for at in np.ndindex(x.shape):
            channel = () if shared == "true" else at[1]
            y[at] = x[at] * factor[channel] + bias[channel]
        return y

    options = f"eltwise_affine_param {{ channel_shared: {shared} }}"
    text = f'type: "EltwiseAffine" {place} {options}'
    check_layer(text, [shape], affine, backend=backend)


def test_eltwise_affine_starts_near_one_and_refuses():
    op = read('type: "EltwiseAffine"', (4, 3, 2))
    assert param_shapes(op) == [(3,), (3,)]
    assert fillers(op) == [
        ("constant", pytest.approx(1.0001)),
        ("constant", pytest.approx(0.0001)),
    ]
    refuses('type: "EltwiseAffine"', (4,), match="expected at least 2 axes")
