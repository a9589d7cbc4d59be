#!/bin/sh
# ONNX Runtime's mean over an axis without values is 0.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2 (onnx.reference), NumPy 2.4.6.
# Expected: 0 divided by 0, which is NaN, as in NumPy, torch and ONNX's reference; so
# that a net given no detections, or no words, does not go on with numbers.
# Happens: ReduceMean gives 0, like a sum. ReduceMax gives minus infinity, as the
# reference does, so that the mean alone hides that there was nothing.
# Remedy: where a size may be 0, divide a ReduceSum by the size.
# Seen (2 x 0, along the last axis; ONNX Runtime, the reference):
#   ReduceMean: 0 0, nan nan
#   ReduceSum: 0 0, 0 0
#   ReduceMax: -inf -inf, -inf -inf
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
import warnings

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


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


x = np.ones((2, 0), np.float32)
found = {}
for kind in ("ReduceMean", "ReduceSum", "ReduceMax"):
    node = helper.make_node(kind, ["x", "axes"], ["y"])
    net = model([node], x, opset=18, axes=np.array([1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = run(net, x), ReferenceEvaluator(net).run(None, {"x": x})[0]
    found[kind] = ", ".join(" ".join(f"{v:g}" for v in y.ravel()) for y in both)
    print(f"{kind}: {found[kind]}")
if found != {
    "ReduceMean": "0 0, nan nan",
    "ReduceSum": "0 0, 0 0",
    "ReduceMax": "-inf -inf, -inf -inf",
}:
    sys.exit("changed")
PYTHON
