#!/bin/sh
# ONNX Runtime's MeanVarianceNormalization makes NaN of a plane of equal values.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2 (onnx.reference), NumPy 2.4.6; x86-64.
# Expected: the operator is defined as (x - mean) / (deviation + 1e-9), so that equal
# values, a black image or a channel that is dead, become 0; as in Caffe's MVN.
# Happens: the 1e-9 is not there: 0 / 0 is NaN, whatever the value and the axes, and all
# that stands behind it is NaN too. A plane with a variance is right.
# Remedy: InstanceNormalization (of planes) with scale 1, whose epsilon is there; or the
# formula written as ReduceMean, Sub, Mul, ReduceMean, Sqrt, Add, Div.
# Seen (a plane of 7 7 7 7; of 1 2 3 4):
#   MeanVarianceNormalization: nan nan nan nan; -1.34 -0.447 0.447 1.34
#   its reference: 0 0 0 0; -1.34 -0.447 0.447 1.34
#   InstanceNormalization: 0 0 0 0; -1.34 -0.447 0.447 1.34
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


def model(node, x, **constants):
    """Return a model of one node from x to y."""
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def run(net, x):
    """Return what ONNX Runtime computes."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=providers)
    return session.run(None, {"x": x})[0]


def plane(kind, x):
    """Return a model that normalizes the plane x."""
    if kind == "MeanVarianceNormalization":
        return model(helper.make_node(kind, ["x"], ["y"], axes=[2, 3]), x)
    node = helper.make_node(kind, ["x", "s", "b"], ["y"], epsilon=1e-9)
    return model(node, x, s=np.ones(1, np.float32), b=np.zeros(1, np.float32))


def told(values):
    return " ".join(f"{value:.3g}" for value in values.ravel())


def reference(net, x):
    return ReferenceEvaluator(net).run(None, {"x": x})[0]


planes = [np.float32(values).reshape(1, 1, 2, 2) for values in ([7] * 4, [1, 2, 3, 4])]
found = []
for name, kind, compute in [
    ("MeanVarianceNormalization", "MeanVarianceNormalization", run),
    ("its reference", "MeanVarianceNormalization", reference),
    ("InstanceNormalization", "InstanceNormalization", run),
]:
    seen = "; ".join(told(compute(plane(kind, x), x)) for x in planes)
    found.append(f"{name}: {seen}")
    print(found[-1])
if found != [
    "MeanVarianceNormalization: nan nan nan nan; -1.34 -0.447 0.447 1.34",
    "its reference: 0 0 0 0; -1.34 -0.447 0.447 1.34",
    "InstanceNormalization: 0 0 0 0; -1.34 -0.447 0.447 1.34",
]:
    sys.exit("changed")
PYTHON
