"""What is called what in a model: nodes, values, inputs, outputs, metadata."""

import json

import numpy as np
import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from netspec.text import as_net
from tests.onnx.writing.running import (
    check_equal,
    compare,
    in_onnx,
    in_runtime,
    inputs_of,
    onnx,
    weights_of,
)

IN = 'layer { name: "in" type: "Input" top: "x" input_param { shape { %s } } }'


def written(net, **options):
    graph = build(net, State(TEST))
    weights, x = weights_of(graph), inputs_of(graph)
    model = netspec.to_onnx(net, weights, **options)
    check_equal(in_onnx(model, x), in_runtime(net, weights, x))
    return model


def names(values):
    return [each.name for each in values]


def test_nodes_are_layers_and_values_are_blobs():
    n = NetSpec("small")
    n.data = L.Input(shape=[2, 3, 8, 8])
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.norm = L.LRN(n.relu, norm_region="WITHIN_CHANNEL")
    n.ip = L.InnerProduct(n.norm, num_output=3)
    model = written(n.to_proto())
    graph = model.graph
    assert graph.name == "small"
    assert names(graph.input) == ["data"]
    assert names(graph.output) == ["ip"]
    nodes = {node.name: node for node in graph.node}
    assert list(nodes) == [
        "conv",
        "relu",
        "norm/Mul",
        "norm/Pad",
        "norm/AveragePool",
        "norm/Add",
        "norm/Pow",
        "norm",
        "ip/Flatten",
        "ip",
    ]
    # The last version of a blob has its name.
    assert list(nodes["relu"].output) == ["conv"]
    assert list(nodes["conv"].output) == ["conv/conv"]
    assert list(nodes["norm"].output) == ["norm"]
    assert {"conv_w", "conv_b", "ip_w", "ip_b"} <= set(names(graph.initializer))
    shapes = {
        each.name: [d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in graph.value_info
    }
    assert shapes["conv/conv"] == shapes["conv"] == [2, 4, 6, 6]


def test_names_of_modules_are_metadata():
    net = as_net(
        IN % "dim: 2 dim: 3"
        + 'layer { name: "a/b/one" type: "TanH" bottom: "x" top: "y" }'
        + 'layer { name: "a/two" type: "Sigmoid" bottom: "y" top: "z" }'
    )
    model = written(net, opset=17)
    told = {each.key: each.value for each in model.metadata_props}
    assert json.loads(told["netspec.modules"]) == {"a/b": ["a/b/one"], "a": ["a/two"]}
    assert json.loads(told["netspec.types"])["a/two"] == "Sigmoid"
    assert model.producer_name == "netspec"
    assert model.graph.node[0].doc_string == "layer 'a/b/one' (TanH)"
    model = written(net, opset=21)
    told = {each.key: each.value for each in model.graph.node[0].metadata_props}
    assert told == {
        "namespace": "a/b",
        "netspec.layer": "a/b/one",
        "netspec.type": "TanH",
    }


def test_two_layers_of_one_name_get_two():
    net = as_net(
        IN % "dim: 2 dim: 3"
        + 'layer { name: "same" type: "TanH" bottom: "x" top: "y" }'
        + 'layer { name: "same" type: "Power" bottom: "y" top: "z" '
        "power_param { scale: 2 shift: 1 } }"
        + 'layer { name: "same/Mul" type: "Sigmoid" bottom: "z" top: "same" }'
    )
    model = written(net)
    found = names(model.graph.node)
    assert len(set(found)) == len(found) == 4
    assert names(model.graph.output) == ["same"]


def test_a_blob_may_have_any_name():
    net = as_net(
        IN
        % "dim: 2 dim: 3"
        + 'layer { name: "l" type: "Power" bottom: "x" top: "l/Mul" '
        "power_param { scale: 3 shift: 1 } }"
        + 'layer { name: "m" type: "Power" bottom: "l/Mul" top: "number_3" '
        "power_param { scale: 3 } }"
    )
    compare(net)


def test_outputs_that_are_one_value_are_copied():
    net = as_net(
        IN
        % "dim: 2 dim: 3"
        + 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" '
        "inner_product_param { num_output: 4 } }"
        + 'layer { name: "drop" type: "Dropout" bottom: "ip" top: "dropped" }'
        + 'layer { name: "shape" type: "Flatten" bottom: "ip" top: "flat" }'
        + 'layer { name: "pass" type: "Dropout" bottom: "x" top: "given" }'
    )
    model = written(net)
    assert sorted(names(model.graph.output)) == ["dropped", "flat", "given"]


def test_an_input_keeps_its_name_where_a_layer_changes_it_in_place():
    net = as_net(
        IN
        % "dim: 2 dim: 3"
        + 'layer { name: "double" type: "Power" bottom: "x" top: "x" '
        "power_param { scale: 2 } }"
        + 'layer { name: "end" type: "TanH" bottom: "x" top: "y" }'
    )
    graph = build(net, State(TEST))
    x = inputs_of(graph)
    model = netspec.to_onnx(net)
    assert names(model.graph.input) == ["x"]
    assert model.graph.node[0].output == ["x/double"]
    check_equal(in_onnx(model, x), {"y": np.tanh(2 * x["x"])})


def test_an_input_that_nobody_reads_is_no_output():
    net = as_net(
        IN % "dim: 2 dim: 3" + 'layer { name: "in2" type: "Input" top: "y" '
        "input_param { shape { dim: 1 } } }"
        + 'layer { name: "end" type: "TanH" bottom: "x" top: "z" }'
    )
    model = netspec.to_onnx(net)
    assert names(model.graph.input) == ["x", "y"]
    assert names(model.graph.output) == ["z"]


def test_silence_leaves_no_node():
    net = as_net(
        IN % "dim: 2 dim: 4"
        + 'layer { name: "cut" type: "Slice" bottom: "x" top: "y" top: "z" }'
        + 'layer { name: "hush" type: "Silence" bottom: "z" }'
    )
    model = written(net)
    assert names(model.graph.output) == ["y"]
    assert names(model.graph.node) == ["cut"]


def test_shared_parameters_are_one_constant():
    n = NetSpec()
    n.data = L.Input(shape=[2, 4])
    shared = dict(num_output=4, param=[dict(name="w"), dict(name="b")])
    n.one = L.InnerProduct(n.data, **shared)
    n.two = L.InnerProduct(n.one, **shared)
    n.tied = L.InnerProduct(n.two, transpose=True, **shared)
    model = written(n.to_proto())
    assert sorted(names(model.graph.initializer)) == ["b", "w"]
    assert [len(node.input) for node in model.graph.node] == [3, 3, 3]


def test_a_parameter_shared_by_layers_of_other_shapes_is_reshaped():
    net = as_net(
        IN
        % "dim: 2 dim: 3 dim: 4 dim: 5"
        + 'layer { name: "a" type: "Bias" bottom: "x" top: "a" '
        'param { name: "b" } }'
        + 'layer { name: "f" type: "Reduction" bottom: "a" top: "f" '
        "reduction_param { axis: 2 } }"
        + 'layer { name: "c" type: "Bias" bottom: "f" top: "c" param { name: "b" } }'
        + 'layer { name: "d" type: "Bias" bottom: "x" top: "d" '
        'param { name: "b" share_mode: PERMISSIVE } }'
    )
    model = written(net)
    assert names(model.graph.initializer).count("b") == 1


def test_statistics_that_layers_share_are_one_constant_each():
    param = 'param { name: "m" } param { name: "v" } param { name: "n" }'
    net = as_net(
        IN % "dim: 2 dim: 3 dim: 4 dim: 5"
        + f'layer {{ name: "a" type: "BatchNorm" bottom: "x" top: "a" {param} }}'
        + f'layer {{ name: "b" type: "BatchNorm" bottom: "a" top: "b" {param} }}'
    )
    model = written(net)
    first, second = model.graph.node
    assert list(first.input)[1:] == list(second.input)[1:]
    assert len(model.graph.initializer) == 4


BN = 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" %s }'
SCALE = 'layer { name: "s" type: "Scale" bottom: "y" top: "%s" scale_param { %s } } %s'


def of_scaled(batch_norm="", top="y", options="bias_term: true", more=""):
    """The model of a BatchNorm and a Scale."""
    text = IN % "dim: 2 dim: 3 dim: 3 dim: 5" + BN % batch_norm
    return written(as_net(text + SCALE % (top, options, more)))


@pytest.mark.parametrize("options", ["", "bias_term: true"])
def test_a_scale_in_place_is_that_of_the_batch_norm(options):
    model = of_scaled(options=options)
    (node,) = model.graph.node
    assert node.name == "bn"
    assert node.doc_string == "layer 'bn' (BatchNorm), layer 's' (Scale)"
    bias = "s_b" if options else "bn_bias"
    assert list(node.input) == ["x", "s_w", bias, "bn_mean", "bn_variance"]
    assert list(node.output) == ["y"]


@pytest.mark.parametrize(
    "changed",
    [
        dict(top="z"),
        dict(options="axis: 2"),
        dict(options="num_axes: 2"),
        dict(options="num_axes: 0"),
        dict(batch_norm="batch_norm_param { use_global_stats: false }"),
        dict(top="z", more='layer { name: "e" type: "TanH" bottom: "y" top: "w" }'),
    ],
)
def test_another_scale_is_a_node(changed):
    kinds = [node.op_type for node in of_scaled(**changed).graph.node]
    assert "Mul" in kinds


def test_a_scale_of_two_bottoms_is_a_node():
    net = as_net(
        IN % "dim: 2 dim: 3 dim: 3 dim: 5"
        + IN.replace('"in"', '"two"').replace('"x"', '"f"') % "dim: 3"
        + BN % ""
        + SCALE.replace('top: "%s"', 'bottom: "f" top: "y"') % ("axis: 1", "")
    )
    kinds = [node.op_type for node in written(net).graph.node]
    assert kinds == ["BatchNormalization", "Unsqueeze", "Mul"]


def test_statistics_that_were_never_taken_are_zeros():
    net = as_net(
        IN % "dim: 2 dim: 3"
        + 'layer { name: "n" type: "BatchNorm" bottom: "x" top: "y" }'
    )
    weights = {"n": [np.ones(3), np.ones(3), np.zeros(1)]}
    x = {"x": np.ones((2, 3), np.float32)}
    y = in_onnx(netspec.to_onnx(net, weights), x)
    check_equal(y, in_runtime(net, weights, x))


@pytest.mark.parametrize("opset", [13, 18, 21, onnx.defs.onnx_opset_version()])
def test_the_versions_are_those_that_belong_together(opset):
    net = as_net(
        IN % "dim: 2 dim: 3" + 'layer { name: "l" type: "MVN" bottom: "x" top: "y" }'
    )
    model = netspec.to_onnx(net, opset=opset)
    assert [each.version for each in model.opset_import] == [opset]
    wanted = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    assert model.ir_version == wanted
    onnx.checker.check_model(model, full_check=True)
