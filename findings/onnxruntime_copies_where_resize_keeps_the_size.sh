#!/bin/sh
# ONNX Runtime's Resize ignores a scale that leaves the size as it is.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2 (onnx.reference), NumPy 2.4.6.
# Expected: a scale of 1.2 makes 4 of 4 pixels, the size being rounded down, and they
# are at x / 1.2, as the formula of ONNX has it with the scale that is given.
# Happens: where the sizes agree the input is copied, in every mode. A scale that adds a
# pixel, 1.3, is used by the formula. ONNX's reference uses it in both.
# Remedy: `sizes` in the place of `scales`, whose scale is the quotient of the two.
# Seen (1, 2, 3, 4; linear, asymmetric):
#   1.2: ONNX Runtime 1 2 3 4; the reference 1 1.833 2.667 3.5
#   1.3: ONNX Runtime 1 1.769 2.538 3.308 4; the reference the same
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


x = np.float32([1, 2, 3, 4]).reshape(1, 1, 1, 4)
options = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
found = []
for scale in (1.2, 1.3):
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **options)
    net = model([node], x, scales=np.float32([1, 1, 1, scale]))
    both = run(net, x), ReferenceEvaluator(net).run(None, {"x": x})[0]
    found.append([[round(float(v), 3) for v in y.ravel()] for y in both])
    told = (" ".join(f"{value:g}" for value in values) for values in found[-1])
    print("{}: ONNX Runtime {}; the reference {}".format(scale, *told))
longer = [1, 1.769, 2.538, 3.308, 4]
if found != [[[1, 2, 3, 4], [1, 1.833, 2.667, 3.5]], [longer, longer]]:
    sys.exit("changed")
PYTHON
