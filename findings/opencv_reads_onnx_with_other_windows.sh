#!/bin/sh
# OpenCV's reader of ONNX ignores options of windows and axes, and computes on.
#
# Versions: opencv-python-headless 4.14.0.94 (readNetFromONNX), onnx 1.23.2
# (onnx.reference), onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: an attribute that a reader has no layer for is an error, as are pads of a
# ConvTranspose that differ (`refused` below).
# Happens: a padding of an AveragePool that is to be counted isn't. SAME_LOWER is taken
# for SAME_UPPER; a ConvTranspose loses a row and a column at each end by both, for one
# at one end. `dilations` of pools and of ConvTranspose count for nothing, nor does
# `output_shape`. With ceil_mode a last window that begins behind the image stays.
# Softmax below opset 13, defined over all axes from `axis` on, is along that one. A
# BatchNormalization behind a ConvTranspose with groups is folded into its kernels as if
# they lay in another order. A depthwise Conv of 3 x 3 with pads of 1 and dilations
# reads memory beside the image. A reduction over the last three of four axes gives
# other values. Nothing warns, and where sizes agree nothing shows it.
# Remedy: a Pad in front of an AveragePool and of such a Conv; pads instead of auto_pad;
# kernels with zeros between instead of dilations; a Reshape to the same shape (an
# Identity is left out) before that BatchNormalization; a Reshape that joins axes before
# a reduction.
# Seen (1 x 4 x 6 x 6, OpenCV beside ONNX Runtime; the reference where it differs too):
#   AveragePool, pads: same
#   AveragePool, pads, counted: other values
#   Pad, AveragePool: same
#   AveragePool, SAME_UPPER: same
#   AveragePool, SAME_LOWER: other values
#   AveragePool, ceil: same
#   AveragePool, ceil, stride 3: 3x3 for 2x2
#   AveragePool, dilations: 5x5 for 4x4
#   MaxPool, ceil, stride 3: 3x3 for 2x2
#   MaxPool, SAME_LOWER: other values
#   MaxPool, dilations: 5x5 for 4x4
#   Conv, SAME_UPPER: same
#   Conv, SAME_LOWER: other values
#   Conv, dilations: same
#   ConvTranspose, pads: same
#   ConvTranspose, pads differ: refused
#   ConvTranspose, SAME_UPPER: 11x11 for 12x12
#   ConvTranspose, SAME_LOWER: 11x11 for 12x12
#   ConvTranspose, output_shape: 13x13 for 12x12 (reference: ValueError)
#   ConvTranspose, dilations: 8x8 for 10x10
#   ConvTranspose, norm: same
#   ConvTranspose of 2 groups: same (reference: ValueError)
#   ConvTranspose of 2 groups, norm: other values (reference: ValueError)
#   ConvTranspose of 4 groups, norm: other values
#   ConvTranspose of 4 groups, Identity, norm: other values
#   ConvTranspose of 4 groups, Reshape, norm: same
#   Softmax of opset 11, axis 1: other values (reference: other values)
#   Softmax of opset 11, axis 3: same
#   Softmax of opset 13, axis 1: same
#   Conv of 4 groups, pads: same
#   Conv of 4 groups, pads, dilations: other values
#   Pad, Conv of 4 groups, dilations: same
#   ReduceMean, axes 2 3: same
#   ReduceMean, axes 1 2 3: other values
#   Reshape, ReduceMean, axis 3: same
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  opencv-python-headless==4.14.0.94 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
onnxruntime.set_default_logger_severity(3)
random = np.random.default_rng(0)
x = np.float32(random.normal(size=(1, 4, 6, 6)))


def node(kind, *arrays, **options):
    return kind, arrays, options


def model(opset, nodes):
    """Return a model of nodes one behind the other, each with constants of its own."""
    made, constants, last = [], [], "x"
    for place, (kind, arrays, options) in enumerate(nodes):
        names = [f"c{place}_{slot}" for slot in range(len(arrays))]
        constants += map(numpy_helper.from_array, arrays, names)
        made.append(helper.make_node(kind, [last, *names], [f"y{place}"], **options))
        last = f"y{place}"
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info(last, TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph(made, "net", [source], [result], constants)
    versions = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def compare(y, right):
    """Return how one output lies to another."""
    if y.shape != right.shape:
        return "{2}x{3} for {6}x{7}".format(*y.shape, *right.shape)
    return "same" if np.allclose(y, right, atol=1e-4) else "other values"


def answer(opset, *nodes):
    """Return what OpenCV does beside ONNX Runtime, and the reference if it differs."""
    net = model(opset, nodes)
    data = net.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": x})[0]
    try:
        reference = compare(ReferenceEvaluator(net).run(None, {"x": x})[0], right)
    except ValueError:
        reference = "ValueError"
    try:
        read = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        read.setInput(x, "x")
        said = compare(np.array(read.forward()), right)
    except cv2.error:
        said = "refused"
    return said if reference == "same" else f"{said} (reference: {reference})"


def values(*shape):
    return np.float32(random.uniform(1, 2, size=shape))


def average(size, **options):
    return node("AveragePool", kernel_shape=[size] * 2, **options)


def maximum(size, **options):
    return node("MaxPool", kernel_shape=[size] * 2, **options)


def turned(kernels, **options):
    return node("ConvTranspose", kernels, **options)


two, around = [2, 2], [1, 1, 1, 1]
upper, lower = {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}
small, dense = values(4, 4, 2, 2), values(4, 4, 3, 3)
pairs, single = values(4, 2, 3, 3), values(4, 1, 3, 3)
norm = node("BatchNormalization", *values(4, 4))
same = node("Reshape", np.int64([0, 0, 0, 0]))
pads = np.int64([0, 0, 1, 1, 0, 0, 1, 1])
flat = node("Reshape", np.int64([0, 1, 1, -1]))
found = []
for what, *case in [
    ("AveragePool, pads", 17, average(3, pads=around)),
    ("AveragePool, pads, counted", 17, average(3, pads=around, count_include_pad=1)),
    ("Pad, AveragePool", 17, node("Pad", pads), average(3)),
    ("AveragePool, SAME_UPPER", 17, average(2, **upper)),
    ("AveragePool, SAME_LOWER", 17, average(2, **lower)),
    ("AveragePool, ceil", 17, average(3, strides=two, ceil_mode=1)),
    ("AveragePool, ceil, stride 3", 17, average(2, strides=[3, 3], ceil_mode=1)),
    ("AveragePool, dilations", 19, average(2, dilations=two)),
    ("MaxPool, ceil, stride 3", 17, maximum(2, strides=[3, 3], ceil_mode=1)),
    ("MaxPool, SAME_LOWER", 17, maximum(2, **lower)),
    ("MaxPool, dilations", 17, maximum(2, dilations=two)),
    ("Conv, SAME_UPPER", 17, node("Conv", small, **upper)),
    ("Conv, SAME_LOWER", 17, node("Conv", small, **lower)),
    ("Conv, dilations", 17, node("Conv", small, dilations=two)),
    ("ConvTranspose, pads", 17, turned(dense, strides=two, pads=around)),
    ("ConvTranspose, pads differ", 17, turned(dense, strides=two, pads=[0, 0, 1, 1])),
    ("ConvTranspose, SAME_UPPER", 17, turned(dense, strides=two, **upper)),
    ("ConvTranspose, SAME_LOWER", 17, turned(dense, strides=two, **lower)),
    (
        "ConvTranspose, output_shape",
        17,
        turned(dense, strides=two, output_shape=[12, 12]),
    ),
    ("ConvTranspose, dilations", 17, turned(dense, dilations=two)),
    ("ConvTranspose, norm", 17, turned(dense), norm),
    ("ConvTranspose of 2 groups", 17, turned(pairs, group=2)),
    ("ConvTranspose of 2 groups, norm", 17, turned(pairs, group=2), norm),
    ("ConvTranspose of 4 groups, norm", 17, turned(single, group=4), norm),
    (
        "ConvTranspose of 4 groups, Identity, norm",
        17,
        turned(single, group=4),
        node("Identity"),
        norm,
    ),
    (
        "ConvTranspose of 4 groups, Reshape, norm",
        17,
        turned(single, group=4),
        same,
        norm,
    ),
    ("Softmax of opset 11, axis 1", 11, node("Softmax", axis=1)),
    ("Softmax of opset 11, axis 3", 11, node("Softmax", axis=3)),
    ("Softmax of opset 13, axis 1", 13, node("Softmax", axis=1)),
    ("Conv of 4 groups, pads", 17, node("Conv", single, group=4, pads=around)),
    (
        "Conv of 4 groups, pads, dilations",
        17,
        node("Conv", single, group=4, pads=around, dilations=two),
    ),
    (
        "Pad, Conv of 4 groups, dilations",
        17,
        node("Pad", pads),
        node("Conv", single, group=4, dilations=two),
    ),
    ("ReduceMean, axes 2 3", 17, node("ReduceMean", axes=[2, 3])),
    ("ReduceMean, axes 1 2 3", 17, node("ReduceMean", axes=[1, 2, 3])),
    ("Reshape, ReduceMean, axis 3", 17, flat, node("ReduceMean", axes=[3])),
]:
    found.append(f"{what}: {answer(*case)}")
    print(found[-1], flush=True)
if found != [
    "AveragePool, pads: same",
    "AveragePool, pads, counted: other values",
    "Pad, AveragePool: same",
    "AveragePool, SAME_UPPER: same",
    "AveragePool, SAME_LOWER: other values",
    "AveragePool, ceil: same",
    "AveragePool, ceil, stride 3: 3x3 for 2x2",
    "AveragePool, dilations: 5x5 for 4x4",
    "MaxPool, ceil, stride 3: 3x3 for 2x2",
    "MaxPool, SAME_LOWER: other values",
    "MaxPool, dilations: 5x5 for 4x4",
    "Conv, SAME_UPPER: same",
    "Conv, SAME_LOWER: other values",
    "Conv, dilations: same",
    "ConvTranspose, pads: same",
    "ConvTranspose, pads differ: refused",
    "ConvTranspose, SAME_UPPER: 11x11 for 12x12",
    "ConvTranspose, SAME_LOWER: 11x11 for 12x12",
    "ConvTranspose, output_shape: 13x13 for 12x12 (reference: ValueError)",
    "ConvTranspose, dilations: 8x8 for 10x10",
    "ConvTranspose, norm: same",
    "ConvTranspose of 2 groups: same (reference: ValueError)",
    "ConvTranspose of 2 groups, norm: other values (reference: ValueError)",
    "ConvTranspose of 4 groups, norm: other values",
    "ConvTranspose of 4 groups, Identity, norm: other values",
    "ConvTranspose of 4 groups, Reshape, norm: same",
    "Softmax of opset 11, axis 1: other values (reference: other values)",
    "Softmax of opset 11, axis 3: same",
    "Softmax of opset 13, axis 1: same",
    "Conv of 4 groups, pads: same",
    "Conv of 4 groups, pads, dilations: other values",
    "Pad, Conv of 4 groups, dilations: same",
    "ReduceMean, axes 2 3: same",
    "ReduceMean, axes 1 2 3: other values",
    "Reshape, ReduceMean, axis 3: same",
]:
    sys.exit("changed")
PYTHON
