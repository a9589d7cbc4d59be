"""Batches: the net's own, another number, any."""

import numpy as np
import pytest

import netspec
from netspec.errors import SpecError
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from netspec.text import as_net
from tests.onnx.writing.running import (
    check_equal,
    in_onnx,
    in_runtime,
    inputs_of,
    net_of,
    weights_of,
)

IMAGE = (2, 6, 5, 7)


def with_batch(net, sizes):
    """The net with other first axes of its inputs, as a user would write it."""
    other = type(net)()
    other.CopyFrom(net)
    inputs = [layer for layer in other.layer if layer.type == "Input"]
    for layer, size in zip(inputs, sizes, strict=True):
        layer.input_param.shape[0].dim[0] = size
    for layer in other.layer:
        if layer.reshape_param.shape.dim[:1] == [2]:  # states the batch
            layer.reshape_param.shape.dim[0] = sizes[0]
    return other


def check_any(net, *batches):
    """Compare a model for any batch with the runtime, for some batches."""
    weights = weights_of(build(net, State(TEST)))
    model = netspec.to_onnx(net, weights, batch="dynamic")
    for sizes in batches:
        other = with_batch(net, sizes)
        x = inputs_of(build(other, State(TEST)))
        check_equal(in_onnx(model, x), in_runtime(other, weights, x))
    return model


ANY = [
    ('type: "InnerProduct" inner_product_param { num_output: 4 axis: 2 }', [IMAGE]),
    ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 }', [IMAGE]),
    (
        (
            'type: "Convolution" convolution_param { num_output: 4 kernel_size: 2 '
            "axis: 2 }"
        ),
        [(2, 3, 4, 5, 6)],
    ),
    ('type: "Im2col" convolution_param { kernel_size: 2 axis: 2 }', [(2, 3, 4, 5, 6)]),
    ('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', [IMAGE]),
    ('type: "SPP" spp_param { pyramid_height: 2 pool: MAX }', [IMAGE]),
    ('type: "Flatten"', [IMAGE]),
    ('type: "Flatten" flatten_param { axis: 0 end_axis: 1 }', [IMAGE]),
    ('type: "Reshape" reshape_param { shape { dim: 0 dim: 3 dim: -1 } }', [IMAGE]),
    ('type: "Reshape" reshape_param { shape { dim: -1 dim: 7 } }', [IMAGE]),
    ('type: "Reshape" reshape_param { shape { dim: 2 dim: 10 dim: -1 } }', [IMAGE]),
    ('type: "Reshape" reshape_param { shape { dim: 1 } axis: 0 num_axes: 0}', [IMAGE]),
    ('type: "ArgMax" argmax_param { top_k: 3 out_max_val: true }', [IMAGE]),
    ('type: "MVN"', [(3, 4)]),
    ('type: "MVN" mvn_param { across_channels: true }', [IMAGE]),
    ('type: "BatchNorm" batch_norm_param { use_global_stats: false }', [IMAGE]),
    ('type: "Crop" crop_param { axis: 2 offset: 1 }', [IMAGE, (1, 1, 3, 4)]),
    ('type: "Scale" scale_param { axis: 0 }', [IMAGE, (2, 6)]),
    ('type: "Slice" slice_param { axis: 0 slice_point: 1 }', [(3, 2)]),
    ('type: "Concat" concat_param { axis: 0 }', [(3, 2), (1, 2)]),
    ('type: "Tile" tile_param { axis: 0 tiles: 3 }', [IMAGE]),
    ('type: "Eltwise"', [IMAGE, IMAGE]),
    ('type: "Embed" embed_param { input_dim: 5 num_output: 3 }', [(4,)]),
    ('type: "Filter"', [(4, 3), (4,)]),
    ('type: "BatchReindex"', [(4, 3), (5,)]),
    ('type: "Reduction" reduction_param { axis: 1 }', [IMAGE]),
    ('type: "Softmax" softmax_param { axis: 0 }', [(3, 4)]),
]
TIED = ("Scale", "Eltwise", "Filter")  # all bottoms have one batch


@pytest.mark.parametrize(("layer", "shapes"), ANY)
def test_a_layer_takes_any_batch(layer, shapes):
    kind = layer.split('"')[1]
    tops = 2 if kind == "Slice" else 1
    net, _ = net_of(layer, shapes, tops)
    batches = [(4, 4), (5, 5)] if kind in TIED else [(4, 2), (5, 9)]
    model = check_any(net, *(batch[: len(shapes)] for batch in batches))
    named = [each.type.tensor_type.shape.dim[0].dim_param for each in model.graph.input]
    assert named[0] == "batch"
    if kind in TIED:
        assert set(named) == {"batch"}
    else:
        assert len(set(named)) == len(shapes)


def test_a_sequence_may_have_any_length():
    net, _ = net_of(
        'type: "LSTM" recurrent_param { num_output: 3 expose_hidden: true }',
        [(3, 2, 4), (3, 2), (1, 2, 3), (1, 2, 3)],
        3,
    )
    net.layer[2].type = net.layer[3].type = "DummyData"
    for layer in net.layer[2:4]:
        layer.ClearField("input_param")
        layer.dummy_data_param.shape.add(dim=[1, 2, 3])
    check_any(net, (1, 1), (3, 3), (8, 8))


@pytest.mark.parametrize(
    ("layer", "shapes", "tops", "any_size"),
    [
        ('type: "Bias" bias_param { axis: 1 }', [IMAGE, (6, 5)], 1, {"x0"}),
        (
            'type: "RNN" recurrent_param { num_output: 4 expose_hidden: true }',
            [(3, 2, 4), (3, 2), (2, 5), (1, 2, 4)],
            2,
            {"x0", "x1"},
        ),
    ],
)
def test_side_inputs_whose_first_axis_is_no_batch_keep_it(
    layer, shapes, tops, any_size
):
    net, graph = net_of(layer, shapes, tops)
    model = netspec.to_onnx(net, weights_of(graph), batch="dynamic")
    named = {
        each.name
        for each in model.graph.input
        if each.type.tensor_type.shape.dim[0].dim_param == "batch"
    }
    assert named == any_size
    sizes = [
        9 if name in any_size else shapes[n][0] for n, name in enumerate(graph.inputs)
    ]
    other = with_batch(net, sizes)
    x = inputs_of(build(other, State(TEST)))
    weights = weights_of(graph)
    check_equal(in_onnx(model, x), in_runtime(other, weights, x))


def test_items_behind_a_filter_are_any_in_number():
    net = as_net(
        """
        layer { name: "in" type: "Input" top: "x"
                input_param { shape { dim: 6 dim: 4 } } }
        layer { name: "chosen" type: "Input" top: "s"
                input_param { shape { dim: 6 } } }
        layer { name: "some" type: "Filter" bottom: "x" bottom: "s" top: "y" }
        layer { name: "ip" type: "InnerProduct" bottom: "y" top: "z"
                inner_product_param { num_output: 3 axis: 1 } }
        layer { name: "r" type: "Reshape" bottom: "z" top: "r"
                reshape_param { shape { dim: 0 dim: 1 dim: 3 } } }
        """
    )
    weights = weights_of(build(net, State(TEST)))
    for batch in (None, "dynamic", 6):
        model = netspec.to_onnx(net, weights, batch=batch)
        assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == (
            "y_items"
        )
        x = {
            "x": np.arange(24, dtype=np.float32).reshape(6, 4),
            "s": np.array([1, 0, 0, 0.5, -1, 0], np.float32),
        }
        y = in_onnx(model, x)
        assert y["r"].shape == (3, 1, 3)
        check_equal(y, in_runtime(net, weights, x))


def test_a_number_becomes_the_first_axis_of_all_inputs():
    net, _ = net_of(
        'type: "Reshape" reshape_param { shape { dim: 2 dim: 10 dim: -1 } }', [IMAGE]
    )
    model = netspec.to_onnx(net, batch=5)
    x = inputs_of(build(with_batch(net, [5]), State(TEST)))
    check_equal(in_onnx(model, x), {"y0": x["x0"].reshape(5, 10, 21)})
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 5


@pytest.mark.parametrize(
    ("layer", "shapes", "said"),
    [
        ('type: "Reshape" reshape_param { shape { dim: 4 dim: 3 } }', [(2, 6)], "4, 3"),
        (
            'type: "InnerProduct" inner_product_param { num_output: 4 axis: 0 }',
            [(2, 3)],
            "its parameters' shape depends on a size",
        ),
        (
            'type: "Slice" slice_param { axis: 0 }',
            [(2, 3)],
            "its slice_point depends on a size",
        ),
        (
            'type: "ArgMax" argmax_param { axis: 0 top_k: 2 }',
            [(3, 4)],
            "number of values to choose from depends on the batch",
        ),
        (
            'type: "Crop" crop_param { axis: 0 }',
            [(3, 4), (2, 3)],
            "size of axis 0 depends on the batch",
        ),
    ],
)
def test_a_layer_that_takes_one_batch_only_is_named(layer, shapes, said):
    net, graph = net_of(layer, shapes, 2 if "Slice" in layer else 1)
    weights = weights_of(graph)
    netspec.to_onnx(net, weights)
    with pytest.raises(SpecError, match=f"layer 'layer' .*{said}"):
        netspec.to_onnx(net, weights, batch="dynamic")


def test_a_batch_that_moves_to_another_axis_stays_any():
    net = as_net(
        """
        layer { name: "in" type: "Input" top: "x"
                input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "turn" type: "Permute" bottom: "x" top: "y"
                permute_param { order: 1 } }
        layer { name: "r" type: "Reshape" bottom: "y" top: "z"
                reshape_param { shape { dim: 1 } num_axes: 0 } }
        """
    )
    model = netspec.to_onnx(net, batch="dynamic")
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    check_equal(in_onnx(model, {"x": x}), {"z": x.T[None]})


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, "any"])
def test_what_is_no_batch_is_refused(batch):
    net, _ = net_of('type: "TanH"', [(2, 3)])
    with pytest.raises(SpecError, match="batch is .*; expected a number"):
        netspec.to_onnx(net, batch=batch)
