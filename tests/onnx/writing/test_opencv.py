"""What OpenCV 4 computes of written models, where it reads other forms wrongly."""

import numpy as np
import pytest

import netspec
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from netspec.text import as_net
from tests.onnx.writing.layer_examples import EXAMPLES
from tests.onnx.writing.running import (
    check_equal,
    in_onnx,
    in_runtime,
    inputs_of,
    net_of,
    weights_of,
)

cv2 = pytest.importorskip("cv2")

ACROSS = "norm_param { across_spatial: true channel_shared: %s }"
CASES = [
    pytest.param(kind, *example, id=f"{kind}-{number}")
    for kind in ("Pooling", "BatchNorm", "MVN", "Reduction")
    for number, example in enumerate(EXAMPLES[kind])
] + [
    ("Normalize", ACROSS % "true", [(2, 3, 4, 5)], 1),
    ("Normalize", ACROSS % "false", [(2, 3, 4, 5)], 1),
    ("Reduction", "reduction_param { }", [(2, 3, 4)], 1),
    ("Reduction", "reduction_param { axis: 1 operation: MEAN }", [(3, 2, 4, 5)], 1),
    ("Reduction", "reduction_param { axis: 1 coeff: 3 }", [(3, 2)], 1),
    ("Reduction", "reduction_param { axis: 2 }", [(2, 3, 2, 3, 2)], 1),
]


def in_opencv(model, x, names, shapes):
    """Return outputs, in the shapes that they have; OpenCV 4 has no single axis."""
    read = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    for name, values in x.items():
        read.setInput(values, name)
    found = zip(names, read.forward(list(names)), shapes, strict=True)
    return {name: np.reshape(values, shape) for name, values, shape in found}


def compare(net):
    graph = build(net, State(TEST))
    weights, x = weights_of(graph), inputs_of(graph)
    right = in_runtime(net, weights, x)
    model = netspec.to_onnx(net, weights)
    shapes = [values.shape for values in right.values()]
    check_equal(in_opencv(model, x, list(right), shapes), right)
    check_equal(in_onnx(netspec.to_onnx(net, weights, batch="dynamic"), x), right)


@pytest.mark.parametrize(("kind", "options", "shapes", "tops"), CASES)
def test_a_layer_is_right_in_opencv_too(kind, options, shapes, tops):
    net, _ = net_of(f'type: "{kind}" {options}', shapes, tops)
    compare(net)


@pytest.mark.parametrize("kind", ["Convolution", "DepthwiseConvolution"])
@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        ("pad: 1", 1, 9),
        ("pad: 1 stride: 2", 1, 1),
        ("pad_h: 0 pad_w: 1 dilation: 2", 9, 7),
        ("pad: 1 dilation: 2", 9, 7),
    ],
)
def test_depthwise_kernels_read_nothing_beside_the_image(
    tmp_path, kind, options, rows, columns
):
    net, graph = net_of(
        f'type: "{kind}" convolution_param {{ num_output: 6 group: 6 kernel_size: 3 '
        f"{options} }}",
        [(2, 6, rows, columns)],
    )
    compare(net)
    netspec.to_onnx(net, weights_of(graph), path=tmp_path / "net.onnx")
    read = netspec.from_onnx(tmp_path / "net.onnx").net
    assert [layer.type for layer in read.layer] == ["Input", "Convolution"]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("scale", [False, True])
def test_a_norm_behind_a_grouped_deconvolution_is_right(tmp_path, groups, scale):
    text = f"""
        layer {{ name: "x" type: "Input" top: "x"
          input_param {{ shape {{ dim: 2 dim: 4 dim: 3 dim: 5 }} }} }}
        layer {{ name: "up" type: "Deconvolution" bottom: "x" top: "up"
          convolution_param {{ num_output: 4 kernel_size: 3 stride: 2
            group: {groups} }} }}
        layer {{ name: "bn" type: "BatchNorm" bottom: "up" top: "bn" }}
    """
    if scale:
        text += """layer { name: "sc" type: "Scale" bottom: "bn" top: "bn"
          scale_param { bias_term: true } }"""
    net = as_net(text)
    compare(net)
    graph = build(net, State(TEST))
    path = tmp_path / "net.onnx"
    model = netspec.to_onnx(net, weights_of(graph), path=path)
    kinds = [node.op_type for node in model.graph.node]
    between = [] if groups == 1 else ["Reshape"]
    assert kinds == ["ConvTranspose", *between, "BatchNormalization"]
    read = [layer.type for layer in netspec.from_onnx(path).net.layer]
    assert read[:3] == ["Input", "Deconvolution", "BatchNorm"]
