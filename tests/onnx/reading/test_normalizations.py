"""Normalisations against ONNX Runtime, and what a BatchNorm does in training."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import agrees, layer, model, node, saved, types, values

X = (2, 6, 4, 5)


def statistics(channels, seed=1):
    return {
        "s": values(seed, channels),
        "b": values(seed + 1, channels),
        "m": values(seed + 2, channels),
        "v": np.abs(values(seed + 3, channels)) + 0.1,
    }


@pytest.mark.parametrize("shape", [X, (2, 6), (2, 6, 9)])
def test_batch_normalization(tmp_path, shape):
    nodes = [node("BatchNormalization", "x s b m v", epsilon=0.01, momentum=0.8)]
    read = agrees(tmp_path, model(nodes, {"x": shape}, statistics(6)))
    assert types(read) == ["BatchNorm", "Scale"]
    made = read.net.layer[1]
    assert made.batch_norm_param.eps == pytest.approx(0.01)
    assert made.batch_norm_param.moving_average_fraction == pytest.approx(0.8)
    assert not made.batch_norm_param.HasField("use_global_stats")
    assert read.weights is not None
    assert read.weights["y"][2].tolist() == [1.0]
    assert len(read.weights["y/scale"]) == 2


def test_normalization_behind_a_convolution_is_in_place(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c s b m v", "n"),
        node("Relu", "n", "r"),
        node("Exp", "r"),
    ]
    held = statistics(4) | {"w": values(9, 4, 6, 1, 1)}
    read = agrees(tmp_path, model(nodes, {"x": X}, held))
    assert [list(each.top) for each in read.net.layer[1:5]] == [["c"]] * 4


@pytest.mark.parametrize(
    ("options", "outputs", "said"),
    [
        ({"training_mode": 1}, "y a b2", "training_mode is 1"),
    ],
)
def test_statistics_of_the_batch_are_refused(tmp_path, options, outputs, said):
    nodes = [node("BatchNormalization", "x s b m v", outputs, **options)]
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(saved(tmp_path, model(nodes, {"x": X}, statistics(6))))


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (2, 6, 7), (2, 6, 3, 4, 5)])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_instance_normalization(tmp_path, shape, eps):
    nodes = [node("InstanceNormalization", "x s b", epsilon=eps)]
    held = {"s": values(1, 6), "b": values(2, 6)}
    agrees(tmp_path, model(nodes, {"x": shape}, held))


@pytest.mark.parametrize(
    ("axis", "shape"),
    [(-1, (2, 3, 7)), (-1, (2, 7)), (1, X), (2, X), (-1, X), (3, (2, 3, 4, 5, 6))],
)
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(tmp_path, axis, shape, bias):
    inner = shape[axis:]
    held = {"s": values(1, *inner), "b": values(2, *inner)}
    if not bias:
        del held["b"]
    inputs = "x s b" if bias else "x s"
    nodes = [node("LayerNormalization", inputs, axis=axis, epsilon=0.02)]
    agrees(tmp_path, model(nodes, {"x": shape}, held))


def test_layer_normalization_as_old_exporters_write_it(tmp_path):
    nodes = [
        node("ReduceMean", "x", "m", axes=[-1]),
        node("Sub", "x m", "d"),
        node("Pow", "d two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v eps", "e"),
        node("Sqrt", "e", "r"),
        node("Div", "d r", "n"),
        node("Mul", "n s", "t"),
        node("Add", "t b"),
    ]
    held = {"two": np.float32(2), "eps": np.float32(1e-5)}
    held |= {"s": values(1, 7), "b": values(2, 7)}
    agrees(tmp_path, model(nodes, {"x": (2, 3, 7)}, held))


@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization(tmp_path, opset):
    size = 3 if opset < 21 else 6
    nodes = [node("GroupNormalization", "x s b", num_groups=3, epsilon=0.01)]
    held = {"s": values(1, size), "b": values(2, size)}
    agrees(tmp_path, model(nodes, {"x": X}, held, opset=opset))


def test_group_normalization_as_torch_writes_it(tmp_path):
    nodes = [
        node("Reshape", "x s", "r"),
        node("InstanceNormalization", "r ones zeros", "n"),
        node("Reshape", "n t", "u"),
        node("Mul", "u w", "p"),
        node("Add", "p b"),
    ]
    held = {
        "s": np.array([0, 3, -1]),
        "t": np.array(X),
        "ones": np.ones(3),
        "zeros": np.zeros(3),
        "w": values(1, 6, 1, 1),
        "b": values(2, 6, 1, 1),
    }
    agrees(tmp_path, model(nodes, {"x": X}, held))


@pytest.mark.parametrize("axes", [[2, 3], [1, 2, 3]])
def test_mean_and_variance(tmp_path, axes):
    nodes = [node("MeanVarianceNormalization", "x", axes=axes)]
    agrees(tmp_path, model(nodes, {"x": X}))


@pytest.mark.parametrize("bias", [1.0, 1.7])
def test_lrn(tmp_path, bias):
    options = {"size": 3, "alpha": 0.4, "beta": 0.6, "bias": bias}
    read = agrees(tmp_path, model([node("LRN", "x", **options)], {"x": X}))
    assert layer(read, "y").lrn_param.HasField("alpha")


def test_an_even_window_of_channels_is_refused(tmp_path):
    path = saved(tmp_path, model([node("LRN", "x", size=4)], {"x": X}))
    with pytest.raises(UnsupportedError, match="size is 4"):
        from_onnx(path)
