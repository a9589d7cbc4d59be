"""Arithmetic between blobs and with constants against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import (
    agrees,
    by_us,
    helper,
    model,
    node,
    saved,
    types,
    values,
)

X = (2, 3, 4, 5)
FOUR = ["Add", "Sub", "Mul", "Div"]


def positive(seed, *shape):
    return np.abs(values(seed, *shape)) + 0.2


@pytest.mark.parametrize("kind", FOUR)
def test_two_blobs_of_one_shape(tmp_path, kind):
    data = {"x": values(1, *X), "z": positive(2, *X)}
    read = agrees(tmp_path, model([node(kind, "x z")], {"x": X, "z": X}), data)
    assert types(read)[-1] == "Eltwise"


@pytest.mark.parametrize("kind", FOUR)
def test_a_blob_with_itself(tmp_path, kind):
    data = {"x": positive(1, *X)}
    read = agrees(tmp_path, model([node(kind, "x x")], {"x": X}), data)
    assert types(read) == ["Power"]


@pytest.mark.parametrize("kind", FOUR)
@pytest.mark.parametrize(
    ("first", "second", "last"),
    [
        (X, (2, 3, 1, 1), ("Bias", "Scale")),  # squeeze and excite
        ((2, 3, 1, 1), X, ("Bias", "Scale")),
        ((1, 3, 4, 5), (1, 3, 1, 1), ("Bias", "Scale")),
        (X, (2, 1, 4, 5), ("Eltwise", "Eltwise")),  # attention over places
        ((1, 3, 4, 5), (1, 1, 4, 5), ("Eltwise", "Eltwise")),
        (X, (2, 3, 4, 1), ("Bias", "Scale")),
        (X, (4, 5), ("Bias", "Scale")),
        (X, (3, 1, 5), ("Eltwise", "Eltwise")),
        (X, (2, 1, 1, 1), ("Bias", "Scale")),
        ((2, 3, 1, 1), (2, 1, 4, 5), ("Eltwise", "Eltwise")),
        ((2, 1, 6), (2, 5, 1), ("Eltwise", "Eltwise")),
        (X, (1,), ("Eltwise", "Eltwise")),
    ],
)
def test_two_blobs_one_of_which_is_broadcast(tmp_path, kind, first, second, last):
    data = {"x": values(1, *first), "z": positive(2, *second)}
    net = model([node(kind, "x z")], {"x": first, "z": second})
    read = agrees(tmp_path, net, data)
    assert types(read)[-1] == last[kind in ("Mul", "Div")]


@pytest.mark.parametrize("kind", FOUR)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
@pytest.mark.parametrize("order", ["x c", "c x"])
def test_a_number(tmp_path, kind, shape, order):
    data = {"x": positive(1, *X)}
    net = model([node(kind, order)], {"x": X}, {"c": np.full(shape, 2.5)})
    assert set(types(agrees(tmp_path, net, data))) == {"Power"}


@pytest.mark.parametrize("kind", FOUR)
@pytest.mark.parametrize(
    "shape",
    [(3, 1, 1), (1, 3, 1, 1), (5,), (4, 1), (3, 4, 1), (2, 3, 4, 5), (3, 1, 5), (1, 5)],
)
@pytest.mark.parametrize("order", ["x c", "c x"])
def test_a_constant_array(tmp_path, kind, shape, order):
    data = {"x": positive(1, *X)}
    net = model([node(kind, order)], {"x": X}, {"c": positive(2, *shape)})
    assert types(agrees(tmp_path, net, data))[-1] in ("Bias", "Scale")


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_a_constant_that_is_larger(tmp_path, kind):
    net = model([node(kind, "x c")], {"x": (1, 3, 1)}, {"c": positive(2, 2, 1, 3, 4)})
    agrees(tmp_path, net)


def test_a_constant_that_is_no_parameter_does_not_learn(tmp_path):
    mean = helper.make_node(
        "Constant",
        [],
        ["c"],
        value=helper.make_tensor("v", 1, (3, 1, 1), [0.5, 0.25, 2.0]),
    )
    read = agrees(tmp_path, model([mean, node("Sub", "x c")], {"x": X}))
    (spec,) = read.net.layer[1].param
    assert (spec.lr_mult, spec.decay_mult) == (0, 0)


def test_a_parameter_learns(tmp_path):
    net = model([node("Mul", "x c")], {"x": X}, {"c": positive(1, 3, 1, 1)})
    assert not agrees(tmp_path, net).net.layer[1].param


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
def test_any_number_of_blobs(tmp_path, kind):
    net = model([node(kind, "x z w")], {"x": X, "z": X, "w": (2, 3, 1, 1)})
    agrees(tmp_path, net)


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
def test_blobs_and_a_number(tmp_path, kind):
    net = model([node(kind, "x c z")], {"x": X, "z": X}, {"c": np.array([0.3])})
    agrees(tmp_path, net)


@pytest.mark.parametrize("kind", ["Max", "Min", "Sum", "Mean"])
def test_one_blob(tmp_path, kind):
    agrees(tmp_path, model([node(kind, "x", "s"), node("Exp", "s")], {"x": X}))


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0])
def test_a_power(tmp_path, exponent):
    net = model([node("Pow", "x c")], {"x": X}, {"c": np.float32(exponent)})
    read = agrees(tmp_path, net, {"x": positive(1, *X)})
    assert types(read) == ["Power"]


def test_a_number_to_the_power_of_a_blob(tmp_path):
    net = model([node("Pow", "c x")], {"x": X}, {"c": np.float32(1.7)})
    assert types(agrees(tmp_path, net)) == ["Exp"]


def test_a_power_of_two_blobs_is_refused(tmp_path):
    net = model([node("Pow", "x z")], {"x": X, "z": X})
    with pytest.raises(UnsupportedError, match="the exponent is computed by the net"):
        from_onnx(saved(tmp_path, net))


def test_a_division_by_zero_is_refused(tmp_path):
    net = model([node("Div", "x c")], {"x": X}, {"c": np.array([0.0])})
    with pytest.raises(UnsupportedError, match="divides by 0"):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("kind", FOUR)
@pytest.mark.parametrize(
    ("shape", "axis"), [((3,), 1), ((3, 4), 1), ((4, 5), None), ((2, 3), 0), (X, None)]
)
def test_old_versions_broadcast_from_an_axis_on(tmp_path, kind, shape, axis, constant):
    options = {"broadcast": 1} if axis is None else {"broadcast": 1, "axis": axis}
    small, x = positive(2, *shape), positive(1, *X)
    inputs, held = ({"x": X}, {"z": small}) if constant else ({"x": X, "z": shape}, {})
    net = model([node(kind, "x z", **options)], inputs, held, opset=6)
    data = {"x": x} if constant else {"x": x, "z": small}
    found = by_us(from_onnx(saved(tmp_path, net)), data)["y"]
    behind = 0 if axis is None else 4 - axis - len(shape)
    other = small.reshape(shape + (1,) * behind)
    act = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
    np.testing.assert_allclose(found, act[kind](x, other), rtol=1e-5)


def test_old_versions_that_do_not_say_that_they_broadcast_are_refused(tmp_path):
    net = model([node("Add", "x z")], {"x": X, "z": (4, 5)}, opset=6)
    with pytest.raises(UnsupportedError, match="broadcast is not set"):
        from_onnx(saved(tmp_path, net))
    net = model(
        [node("Add", "x z", broadcast=1, axis=3)], {"x": X, "z": (4, 5)}, opset=6
    )
    with pytest.raises(UnsupportedError, match="axis is 3 for shapes"):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize(
    ("nodes", "shape", "bias"),
    [
        ([node("MatMul", "x w", "m"), node("Add", "m b")], (2, 6), (7,)),
        ([node("MatMul", "x w", "m"), node("Add", "b m")], (2, 3, 6), (7,)),
        ([node("Conv", "x w", "m"), node("Add", "m b")], (2, 6, 4, 4), (7, 1, 1)),
    ],
)
def test_a_sum_behind_a_product_is_its_bias(tmp_path, nodes, shape, bias):
    weights = values(1, 7, 6, 2, 2) if nodes[0].op_type == "Conv" else values(1, 6, 7)
    held = {"w": weights, "b": values(2, *bias)}
    read = agrees(tmp_path, model(nodes, {"x": shape}, held))
    assert len(types(read)) == 1


def test_a_sum_behind_a_product_that_others_read_is_a_layer(tmp_path):
    nodes = [
        node("MatMul", "x w", "m"),
        node("Add", "m b", "s"),
        node("Mul", "m s"),
    ]
    held = {"w": values(1, 6, 7), "b": values(2, 7)}
    read = agrees(tmp_path, model(nodes, {"x": (2, 6)}, held))
    assert types(read) == ["InnerProduct", "Bias", "Eltwise"]


@pytest.mark.parametrize("shape", [(3, 1, 1), (5,), (4, 1)])
def test_a_factor_and_a_sum_along_one_axis_are_one_layer(tmp_path, shape):
    nodes = [node("Mul", "x c", "m"), node("Add", "m b")]
    held = {"c": positive(1, *shape), "b": values(2, *shape)}
    read = agrees(tmp_path, model(nodes, {"x": X}, held))
    assert types(read) == ["Scale"]
    other = {"c": positive(1, *shape), "b": values(2, 2, 3, 1, 1)}
    assert types(agrees(tmp_path, model(nodes, {"x": X}, other))) == ["Scale", "Bias"]
