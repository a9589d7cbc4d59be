#!/bin/sh
# ONNX's version converter knows of Softmax's new axis going up, and not going down.
#
# Versions: onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: up to opset 12 Softmax and Hardmax flatten what is behind `axis`; from 13 on
# they work along that axis. The converter writes Flatten and Reshape around Softmax on
# the way up. So it does so for Hardmax, and downwards it refuses or writes Transpose.
# Happens: Hardmax goes up as it is, and Softmax goes down as it is: other numbers, in
# silence. Other nodes do fail on the way down: "No Adapter From Version 14 for Relu".
# Remedy: convert such nodes by hand, and compare the numbers.
# Seen (a 1 x 2 x 3 blob, axis 1; how much the outputs sum to, and their nodes):
#   Softmax 11: 1; as 13: 1, Shape Flatten Softmax Reshape
#   Hardmax 11: 1; as 13: 3, Hardmax
#   Softmax 13: 3; as 11: 1, Softmax
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
from onnx import TensorProto, helper, numpy_helper, version_converter


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


x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
found = []
cases = (("Softmax", 11, 13), ("Hardmax", 11, 13), ("Softmax", 13, 11))
for kind, opset, other in cases:
    old = model([helper.make_node(kind, ["x"], ["y"], axis=1)], x, opset=opset)
    new = version_converter.convert_version(old, other)
    sums = [round(float(run(net, x).sum())) for net in (old, new)]
    nodes = " ".join(node.op_type for node in new.graph.node)
    print(f"{kind} {opset}: {sums[0]}; as {other}: {sums[1]}, {nodes}")
    found.append((*sums, nodes))
if found != [
    (1, 1, "Shape Flatten Softmax Reshape"),
    (1, 3, "Hardmax"),
    (3, 1, "Softmax"),
]:
    sys.exit("changed")
PYTHON
