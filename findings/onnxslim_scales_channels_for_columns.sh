#!/bin/sh
# onnxslim scales the channels of a convolution by factors that are for its columns.
#
# Versions: onnxslim 0.1.98, onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: a Mul behind a Conv is folded into its weights where the factors are one for
# each channel, of shape (C, 1, 1). Of shape (C,) they belong to the last axis, the
# columns, as everywhere in ONNX, and the Mul stays.
# Happens: it is folded if there are as many factors as channels, whatever their shape:
# with an output as wide as it has channels each column's factor becomes a channel's.
# With another width the model is left as it is, so that it depends on the image's size.
# Nothing warns; an Add, a Sub and a Div in that place stay.
# Remedy: none by an option of the name; onnxsim and ONNX Runtime are right.
# Seen (ones, 3 channels of 1 x 3, times 1 10 100; each channel):
#   before: 1 10 100 / 1 10 100 / 1 10 100
#   factors (3): 1 1 1 / 10 10 10 / 100 100 100
#   factors (1, 1, 1, 3): 1 1 1 / 10 10 10 / 100 100 100
#   factors (3), onnxsim: 1 10 100 / 1 10 100 / 1 10 100
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  onnxslim==0.1.98 onnxsim==0.8.1 onnx==1.23.2 numpy==2.4.6 sympy==1.14.0 mpmath==1.3.0 \
  colorama==0.4.6 protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxsim
import onnxslim
from onnx import TensorProto, helper, numpy_helper

x = np.ones((1, 3, 1, 3), np.float32)
factors = np.array([1, 10, 100], np.float32)


def model(shape):
    """Return a model of a 1 x 1 convolution that changes nothing, and a Mul."""
    weights = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    constants = {"w": weights, "k": factors.reshape(shape)}
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["between"]),
        helper.make_node("Mul", ["between", "k"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", 17)]
    net = helper.make_model(graph, opset_imports=versions, ir_version=8)
    onnx.checker.check_model(net, full_check=True)
    return net


def run(net):
    providers = ["CPUExecutionProvider"]
    data = net.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=providers)
    rows = session.run(None, {"x": x})[0][0, :, 0]
    return " / ".join(" ".join(f"{value:g}" for value in row) for row in rows)


found = [
    f"before: {run(model((3,)))}",
    f"factors (3): {run(onnxslim.slim(model((3,))))}",
    f"factors (1, 1, 1, 3): {run(onnxslim.slim(model((1, 1, 1, 3))))}",
    f"factors (3), onnxsim: {run(onnxsim.simplify(model((3,)))[0])}",
]
print(*found, sep="\n")
right = "1 10 100 / 1 10 100 / 1 10 100"
wrong = "1 1 1 / 10 10 10 / 100 100 100"
if [line.split(": ")[1] for line in found] != [right, wrong, wrong, right]:
    sys.exit("changed")
PYTHON
