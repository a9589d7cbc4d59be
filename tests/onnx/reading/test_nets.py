"""Whole nets as exporters write them: names, sharing, training, on to Caffe."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

import netspec
import runtime
from netspec import L
from netspec.errors import SpecWarning
from netspec.graph import build
from netspec.nets.state import State
from netspec.onnx.reading import from_onnx
from netspec.schema import SolverParameter
from netspec.text import to_text
from netspec.weights import as_model, complete
from tests.onnx.reading.graphs import (
    IMAGE,
    agrees,
    by_onnx_runtime,
    by_us,
    helper,
    layer,
    model,
    names,
    node,
    onnx,
    residual_net,
    saved,
    types,
    values,
)


def test_names_follow_the_modules(tmp_path):
    read = agrees(tmp_path, residual_net())
    assert names(read) == [
        "stem.0/conv",
        "stem.0/bn",
        "stem.0/bn/scale",
        "stem.0/relu",
        "layer1.0/conv",
        "layer1.0/bn",
        "layer1.0/bn/scale",
        "layer1.0/relu",
        "layer1.0/Add",
        "avgpool",
        "Flatten",
        "fc",
    ]
    assert read.net.layer[0].name == "input.1"
    assert list(read.net.layer[-1].top) == ["495"]
    assert read.net.name == "net"  # of the file, as the graph has an exporter's name


def test_names_of_torch_export_come_from_its_scopes(tmp_path):
    conv = node("Conv", "x w", "c", name="node_conv2d_1")
    conv.metadata_props.add(
        key="pkg.torch.onnx.name_scopes",
        value="['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']",
    )
    relu = node("Relu", "c", "r", name="node_relu_1")
    relu.metadata_props.add(
        key="pkg.torch.onnx.name_scopes", value="['', 'layer1', 'layer1.0', 'relu_1']"
    )
    nodes = [conv, relu, node("Flatten", "r", name="node_view")]
    read = agrees(tmp_path, model(nodes, {"x": IMAGE}, {"w": values(1, 2, 3, 1, 1)}))
    assert names(read) == ["layer1.0/conv1", "layer1.0/relu_1", "view"]


def test_names_that_say_nothing_are_those_of_the_parameters(tmp_path):
    nodes = [
        node("Conv", "x layer2.1.conv3.weight", "12", name="Conv_7"),
        node("Relu", "12", "13"),
        node("Exp", "13", name="last one"),
    ]
    held = {"layer2.1.conv3.weight": values(1, 2, 3, 1, 1)}
    read = agrees(tmp_path, model(nodes, {"x": IMAGE}, held))
    assert names(read) == ["layer2.1/conv3", "Relu", "last one"]


def test_equal_names_are_made_different(tmp_path):
    nodes = [
        node("Relu", "x", "a", name="/act/Relu"),
        node("Exp", "a", "b", name="n"),
        node("Neg", "b", "c", name="n"),
        node("Relu", "c", "x_1", name="/act/Relu_1"),
        node("Exp", "x_1", name="x"),
    ]
    nodes[-1].output[0] = "y"
    read = from_onnx(saved(tmp_path, model(nodes, {"x": IMAGE})))
    assert names(read) == ["act", "n", "n_1", "act_1", "x_1"]
    assert len({top for each in read.net.layer for top in each.top}) == 6


def test_modules_can_be_drawn_and_summed_up(tmp_path):
    path = saved(tmp_path, residual_net())
    text = str(netspec.summarize(netspec.load(path)))
    assert "layer1.0/conv" in text
    assert "layer1.0" in netspec.load(path).to_python()


def test_a_loaded_net_trains(tmp_path):
    path = saved(tmp_path, residual_net())
    n = netspec.load(path)
    n.label = L.Input(shape=[2])
    n.loss = L.SoftmaxWithLoss(n["495"], n.label)
    param = SolverParameter(
        net_param=n.to_proto(), base_lr=0.05, lr_policy="fixed", max_iter=40
    )
    solver = runtime.Solver(param, backend="portable")
    start = np.array(solver.net.params["stem.0/conv"][0].data)
    held = from_onnx(path).weights
    np.testing.assert_array_equal(start, held["stem.0/conv"][0])
    solver.net.blobs["input.1"].data[...] = values(5, *IMAGE)
    solver.net.blobs["label"].data[...] = [1, 3]
    losses = []
    for _ in range(25):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert losses[-1] < 0.5 * losses[0]
    assert np.any(solver.net.params["stem.0/conv"][0].data != start)
    # In TRAIN the statistics are those of the batch, and the stored ones follow.
    assert solver.net.params["stem.0/bn"][2].data[0] > 1


def test_the_values_go_through_a_caffemodel(tmp_path):
    path = saved(tmp_path, residual_net())
    data = {"input.1": values(3, *IMAGE)}
    wanted = by_onnx_runtime(path, data)["495"]
    read = from_onnx(path)
    read.save(tmp_path / "net.caffemodel")
    again = as_model(tmp_path / "net.caffemodel")
    np.testing.assert_allclose(by_us(again, data)["495"], wanted, atol=1e-5)
    assert again.net == read.net
    graph = build(read.net, State())
    assert set(complete(read, graph).weights) == set(read.weights)


def test_every_way_in_reads_the_same(tmp_path):
    path = saved(tmp_path, residual_net())
    wanted = from_onnx(path).to_proto()
    assert netspec.load(path).to_proto() == wanted
    assert netspec.load(str(path)).to_proto() == wanted
    assert as_model(path).to_proto() == wanted
    assert runtime.Net(path, phase="TEST").forward is not None


def test_an_initializer_of_two_nodes_is_a_shared_parameter(tmp_path):
    nodes = [
        node("Conv", "x w b", "p", name="/a/Conv"),
        node("Conv", "z w b", "q", name="/b/Conv"),
        node("Add", "p q"),
    ]
    held = {"w": values(1, 2, 3, 3, 3), "b": np.zeros(2)}
    net = model(nodes, {"x": IMAGE, "z": IMAGE}, held)
    read = agrees(tmp_path, net)
    specs = [[spec.name for spec in layer(read, name).param] for name in "ab"]
    assert specs == [["w", "b"], ["w", "b"]]
    graph = build(read.net, State())
    assert len(graph.parameters) == 2


def test_equal_fresh_arrays_of_different_modules_are_not_shared(tmp_path):
    # Exporters write equal arrays once: here the zeros of two fresh biases.
    nodes = [
        node("Conv", "x w zeros", "p", name="/a/Conv"),
        node("Conv", "p v zeros", name="/b/Conv"),
    ]
    held = {
        "w": values(1, 3, 3, 3, 3),
        "v": values(2, 3, 3, 3, 3),
        "zeros": np.zeros(3),
    }
    path = saved(tmp_path, model(nodes, {"x": IMAGE}, held))
    with pytest.warns(SpecWarning, match="'zeros', belong to several layers"):
        read = from_onnx(path)
    assert not any(each.param for each in read.net.layer)
    agrees(tmp_path, model(nodes, {"x": IMAGE}, held), warned=True)


def test_a_weight_used_both_ways_round_is_two_parameters(tmp_path):
    nodes = [
        node("Gemm", "x w", "p", transB=1),
        node("Relu", "p", "r"),
        node("Gemm", "r w"),
    ]
    read = agrees(tmp_path, model(nodes, {"x": (2, 6)}, {"w": values(1, 4, 6)}))
    assert types(read) == ["InnerProduct", "ReLU", "InnerProduct"]
    assert not any(each.param for each in read.net.layer)


def test_weights_through_identity_are_the_same(tmp_path):
    nodes = [
        node("Identity", "w", "v"),
        node("Conv", "x w", "p", name="/a/Conv"),
        node("Conv", "x v", "q", name="/b/Conv"),
        node("Add", "p q"),
    ]
    read = agrees(tmp_path, model(nodes, {"x": IMAGE}, {"w": values(1, 2, 3, 3, 3)}))
    assert layer(read, "b").param[0].name == "w"


def test_statistics_that_are_shared_do_not_learn(tmp_path):
    held = {"s": values(1, 3), "b": values(2, 3), "m": values(3, 3)}
    held["v"] = np.abs(values(4, 3)) + 0.1
    nodes = [
        node("BatchNormalization", "x s b m v", "p", name="/bn/BatchNormalization"),
        node("BatchNormalization", "p s b m v", name="/bn/BatchNormalization_1"),
    ]
    read = agrees(tmp_path, model(nodes, {"x": IMAGE}, held))
    specs = layer(read, "bn").param
    assert [spec.name for spec in specs] == ["m", "v", "m|count"]
    assert [spec.lr_mult for spec in specs] == [0, 0, 0]
    runtime.Net(read.to_proto(), phase="TRAIN", backend="portable")


def test_opencv_agrees(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV reads no Caffe files")
    path = saved(tmp_path, residual_net())
    read = from_onnx(path)
    (tmp_path / "net.prototxt").write_text(to_text(read.net))
    read.save(tmp_path / "net.caffemodel")
    net = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")
    )
    data = values(3, *IMAGE)
    net.setInput(data)
    wanted = by_onnx_runtime(path, {"input.1": data})["495"]
    np.testing.assert_allclose(net.forward(), wanted, atol=1e-5)


def test_half_precision_is_turned_to_float32(tmp_path):
    half = onnx.TensorProto.FLOAT16
    nodes = [node("Conv", "x w", "c"), node("Cast", "c", "f", to=1), node("Exp", "f")]
    held = {"w": values(1, 2, 3, 3, 3).astype(np.float16)}
    net = model(nodes, {"x": IMAGE}, held, types={"x": half})
    path = saved(tmp_path, net)
    with pytest.warns(SpecWarning, match="type float16 are turned to float32"):
        read = from_onnx(path)
    found = by_us(read, {"x": values(2, *IMAGE)})["y"]
    data = {"x": values(2, *IMAGE).astype(np.float16)}
    np.testing.assert_allclose(found, by_onnx_runtime(path, data)["y"], rtol=0.02)


def test_double_precision_is_turned_to_float32(tmp_path):
    double = onnx.TensorProto.DOUBLE
    held = {"w": np.random.default_rng(1).standard_normal((4, 6))}
    net = model(
        [node("MatMul", "x w")],
        {"x": (2, 4)},
        held,
        types={"x": double, "y": double, "w": double},
    )
    path = saved(tmp_path, net)
    with pytest.warns(SpecWarning, match="type float64 are turned to float32"):
        read = from_onnx(path)
    data = {"x": np.random.default_rng(2).standard_normal((2, 4))}
    found = by_us(read, data)["y"]
    np.testing.assert_allclose(found, by_onnx_runtime(path, data)["y"], atol=1e-5)


def test_the_rest_of_a_file_stays_unread(tmp_path):
    # What no output needs is no mistake, and needs no rule.
    nodes = [node("Relu", "x"), node("Erf", "x", "z")]
    read = agrees(tmp_path, model(nodes, {"x": IMAGE}))
    assert types(read) == ["ReLU"]


def test_initializers_that_are_inputs_as_well(tmp_path):
    nodes = [node("Conv", "x w")]
    made = model(nodes, {"x": IMAGE, "w": (2, 3, 3, 3)}, {"w": values(1, 2, 3, 3, 3)})
    made.ir_version = 3
    assert types(agrees(tmp_path, made)) == ["Convolution"]


def test_functions_of_the_model_are_written_out(tmp_path):
    function = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["c"],
        [node("Relu", "a", "b"), node("Exp", "b", "c")],
        [helper.make_opsetid("", 17)],
    )
    made = model([node("Twice", "x", domain="own")], {"x": IMAGE})
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert types(agrees(tmp_path, made)) == ["ReLU", "Exp"]


def test_a_missing_library_is_told(tmp_path):
    path = saved(tmp_path, residual_net())
    code = (
        "import sys; sys.modules['onnx'] = None; import netspec\n"
        f"try: netspec.load({str(path)!r})\n"
        "except netspec.errors.MachineError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "netspec[interop]" in done.stdout


def test_names_that_occur_very_often_take_no_time(tmp_path):
    nodes = [
        node("Relu", f"t{place}", f"t{place + 1}", name="/same/Relu")
        for place in range(3000)
    ]
    net = model(nodes, {"t0": (1, 2)}, outputs=("t3000",))
    start = time.monotonic()
    read = from_onnx(saved(tmp_path, net))
    assert time.monotonic() - start < 10
    assert names(read)[-1] == "same_2999"
    assert len({each.name for each in read.net.layer}) == 3001
