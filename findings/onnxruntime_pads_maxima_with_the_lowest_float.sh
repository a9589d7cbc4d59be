#!/bin/sh
# ONNX Runtime's MaxPool turns minus infinity into -3.4e38, at the rim of an image only.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6; x86-64.
# Expected: padding takes no part in a maximum, so that an image of minus infinity, such
# as a mask for scores, stays one; or it is the lowest float everywhere.
# Happens: windows that reach into the padding begin with the lowest float, the others
# with their first value. So the rim is finite and what is within is not, and a check
# for infinity, or a Softmax along the other axis, tells rim and inside apart.
# Remedy: a large finite number in the place of minus infinity.
# Seen (4 values of minus infinity, kernel 2, one of padding at both ends):
#   -3.40282e+38 -inf -inf -inf -3.40282e+38
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(nodes, x, *, opset=17, **constants):
    """Return a model of nodes from x to y."""
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def run(net, x):
    """Return what ONNX Runtime computes."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=providers)
    return session.run(None, {"x": x})[0]


x = np.full((1, 1, 1, 4), -np.inf, np.float32)
options = {"kernel_shape": [1, 2], "pads": [0, 1, 0, 1]}
net = model([helper.make_node("MaxPool", ["x"], ["y"], **options)], x)
found = " ".join(f"{value:g}" for value in run(net, x).ravel())
print(found)
if found != "-3.40282e+38 -inf -inf -inf -3.40282e+38":
    sys.exit("changed")
PYTHON
