"""Functions of one value, softmax and dropout against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import SpecWarning, UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import agrees, layer, model, node, saved, types, values

X = (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("kind", "options", "made"),
    [
        ("Relu", {}, ["ReLU"]),
        ("Sigmoid", {}, ["Sigmoid"]),
        ("Tanh", {}, ["TanH"]),
        ("Abs", {}, ["AbsVal"]),
        ("Exp", {}, ["Exp"]),
        ("Neg", {}, ["Power"]),
        ("Reciprocal", {}, ["Power"]),
        ("Softplus", {}, ["BNLL"]),
        ("LeakyRelu", {}, ["ReLU"]),
        ("LeakyRelu", {"alpha": 0.3}, ["ReLU"]),
        ("Elu", {}, ["ELU"]),
        ("Elu", {"alpha": 0.7}, ["ELU"]),
        ("Selu", {}, ["ELU", "Power"]),
        ("Selu", {"alpha": 1.2, "gamma": 0.8}, ["ELU", "Power"]),
        ("Celu", {"alpha": 0.6}, ["Power", "ELU", "Power"]),
        ("HardSigmoid", {}, ["Power", "Clip"]),
        ("HardSigmoid", {"alpha": 0.4, "beta": 0.3}, ["Power", "Clip"]),
        ("HardSwish", {}, ["Power", "Clip", "Eltwise"]),
        ("Softsign", {}, ["AbsVal", "Power", "Eltwise"]),
    ],
)
def test_a_function_of_one_value(tmp_path, kind, options, made):
    read = agrees(tmp_path, model([node(kind, "x", **options)], {"x": X}))
    assert types(read) == made


@pytest.mark.parametrize(("kind", "made"), [("Sqrt", "Power"), ("Log", "Log")])
def test_a_function_of_positive_values(tmp_path, kind, made):
    data = {"x": np.abs(values(1, *X)) + 0.1}
    assert types(agrees(tmp_path, model([node(kind, "x")], {"x": X}), data)) == [made]


@pytest.mark.parametrize("kind", ["Greater", "Less"])
@pytest.mark.parametrize("inputs", ["x c", "c x"])
def test_comparisons_with_a_number(tmp_path, kind, inputs):
    data = {"x": np.round(values(1, *X), 1)}
    limit = {"c": np.float32(data["x"][0, 1, 2, 3])}
    nodes = [node(kind, inputs, "is"), node("Cast", "is", to=1)]
    read = agrees(tmp_path, model(nodes, {"x": X}, limit), data)
    turned = (kind == "Less") == (inputs[0] == "x")
    assert types(read) == ["Power"] * turned + ["Threshold"]


def test_mish(tmp_path):
    agrees(tmp_path, model([node("Mish", "x")], {"x": X}, opset=18))


def test_gelu_by_tanh(tmp_path):
    net = model([node("Gelu", "x", approximate="tanh")], {"x": X}, opset=20)
    agrees(tmp_path, net)


def test_gelu_by_the_error_function_is_refused(tmp_path):
    path = saved(tmp_path, model([node("Gelu", "x")], {"x": X}, opset=20))
    with pytest.raises(UnsupportedError, match="approximate is 'none'.*error function"):
        from_onnx(path)


@pytest.mark.parametrize(
    ("low", "high", "made"),
    [
        (0.0, 6.0, ["Clip"]),
        (-0.5, 0.25, ["Clip"]),
        (0.0, None, ["ReLU"]),
        (0.3, None, ["Clip"]),
        (None, 0.3, ["Clip"]),
    ],
)
@pytest.mark.parametrize("opset", [6, 13])
def test_clip(tmp_path, low, high, made, opset):
    given = {"low": low, "high": high}
    held = {
        name: np.float32(value) for name, value in given.items() if value is not None
    }
    if opset == 6:
        names = {"low": "min", "high": "max"}
        options = {names[name]: float(value) for name, value in held.items()}
        net = model([node("Clip", "x", **options)], {"x": X}, opset=6)
    else:
        inputs = " ".join(name if name in held else "_" for name in given)
        net = model([node("Clip", f"x {inputs}".rstrip(" _"))], {"x": X}, held)
    assert types(agrees(tmp_path, net)) == made


@pytest.mark.parametrize(
    ("shape", "slope", "shared"),
    [
        (X, (3, 1, 1), False),
        (X, (1, 3, 1, 1), False),
        (X, (1,), True),
        (X, (), True),
        ((2, 5), (5,), False),
    ],
)
def test_prelu(tmp_path, shape, slope, shared):
    net = model([node("PRelu", "x s")], {"x": shape}, {"s": values(1, *slope)})
    read = agrees(tmp_path, net)
    assert types(read) == ["PReLU"]
    assert read.net.layer[1].prelu_param.channel_shared is shared


def test_a_slope_along_the_last_axis_is_refused(tmp_path):
    # As many slopes as columns and channels: they belong to the columns.
    net = model([node("PRelu", "x s")], {"x": (2, 3, 4, 3)}, {"s": values(1, 3)})
    with pytest.raises(UnsupportedError, match=r"slope has shape \(3,\)"):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [None, 1, 2, -1, 0])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax(tmp_path, kind, axis, opset):
    options = {} if axis is None else {"axis": axis}
    net = model([node(kind, "x", **options)], {"x": X}, opset=opset)
    agrees(tmp_path, net, warned=kind == "LogSoftmax")


def test_before_version_13_softmax_is_over_all_axes_behind(tmp_path):
    old = agrees(tmp_path, model([node("Softmax", "x")], {"x": X}, opset=11))
    assert types(old) == ["Flatten", "Softmax", "Reshape"]
    new = agrees(tmp_path, model([node("Softmax", "x")], {"x": X}, opset=13))
    assert types(new) == ["Softmax"]
    assert new.net.layer[1].softmax_param.axis == 3


def test_a_log_of_a_softmax_is_warned_of(tmp_path):
    path = saved(tmp_path, model([node("LogSoftmax", "x")], {"x": (2, 5)}))
    with pytest.warns(SpecWarning, match="values below about -87 become -inf"):
        from_onnx(path)


@pytest.mark.parametrize(
    ("opset", "ratio", "made"), [(11, 0.3, 0.3), (13, 0.3, 0.3), (13, None, 0.5)]
)
def test_dropout_drops_while_training_only(tmp_path, opset, ratio, made):
    if opset < 12:
        net = model([node("Dropout", "x", ratio=ratio)], {"x": X}, opset=opset)
    else:
        held = {} if ratio is None else {"r": np.float32(ratio)}
        inputs = "x" if ratio is None else "x r"
        net = model([node("Dropout", inputs)], {"x": X}, held)
    read = agrees(tmp_path, net)
    assert types(read) == ["Dropout"]
    assert read.net.layer[1].dropout_param.dropout_ratio == pytest.approx(made)


def test_dropout_that_is_training_is_warned_of(tmp_path):
    held = {"r": np.float32(0.5), "t": np.array(True)}
    path = saved(tmp_path, model([node("Dropout", "x r t")], {"x": X}, held))
    with pytest.warns(SpecWarning, match="training_mode 1"):
        from_onnx(path)


def test_swish_as_exporters_write_it(tmp_path):
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "x s")]
    read = agrees(tmp_path, model(nodes, {"x": X}))
    assert types(read) == ["Sigmoid", "Eltwise"]


@pytest.mark.parametrize("kind", ["Erf", "Sin", "Floor", "Sign"])
def test_a_function_that_no_layer_is_equal_to_is_refused(tmp_path, kind):
    path = saved(tmp_path, model([node(kind, "x")], {"x": X}))
    with pytest.raises(UnsupportedError, match=rf"node 'y' \({kind}\)"):
        from_onnx(path)


def test_a_relu_behind_a_convolution_is_in_place(tmp_path):
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Exp", "r")]
    read = agrees(tmp_path, model(nodes, {"x": X}, {"w": values(1, 2, 3, 1, 1)}))
    relu = read.net.layer[2]
    assert list(relu.top) == list(relu.bottom) == list(layer(read, "c").top)


def test_what_others_read_as_well_is_not_written_over(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        node("Relu", "c", "r"),
        node("Add", "c r"),
    ]
    read = agrees(tmp_path, model(nodes, {"x": X}, {"w": values(1, 2, 3, 1, 1)}))
    assert list(read.net.layer[2].top) != list(read.net.layer[2].bottom)
