#!/bin/sh
# ONNX's version converter changes what a linear Upsample or Resize computes.
#
# Versions: onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: a model converted to a newer opset computes the same; that is its purpose.
# Happens: before opset 11 a linear Resize places pixels by x / scale. From 11 on there
# is `coordinate_transformation_mode`, whose default "half_pixel" is another rule; the
# converter adds inputs, but not the attribute "asymmetric". Checker and runtime accept
# it. With "nearest" and whole factors both rules give the same, so tests of those pass.
# Remedy: add coordinate_transformation_mode="asymmetric" to converted nodes.
# Seen (1, 2, 3, 4 at twice the size):
#   Upsample of opset 9: 1 1.5 2 2.5 3 3.5 4 4
#   converted to opset 13: 1 1.25 1.75 2.25 2.75 3.25 3.75 4
#   Resize of opset 10: 1 1.5 2 2.5 3 3.5 4 4
#   converted to opset 13: 1 1.25 1.75 2.25 2.75 3.25 3.75 4
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
import onnx
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


x = np.array([[[[1, 2, 3, 4]]]], np.float32)
scales = np.array([1, 1, 1, 2], np.float32)
found = []
for kind, opset in (("Upsample", 9), ("Resize", 10)):
    node = helper.make_node(kind, ["x", "scales"], ["y"], mode="linear")
    old = model([node], x, opset=opset, scales=scales)
    new = version_converter.convert_version(old, 13)
    onnx.checker.check_model(new, full_check=True)
    labels = f"{kind} of opset {opset}", "converted to opset 13"
    for net, label in zip((old, new), labels, strict=True):
        found.append(run(net, x).ravel().tolist())
        print(f"{label}: " + " ".join(f"{each:g}" for each in found[-1]))
before = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4]
after = [1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4]
if found != [before, after] * 2:
    sys.exit("changed")
PYTHON
