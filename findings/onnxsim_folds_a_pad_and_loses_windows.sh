#!/bin/sh
# onnxsim folds a Pad into a pool with ceil_mode, and the output loses a row and a column.
#
# Versions: onnxsim 0.8.1, onnx 1.23.2, onnxruntime 1.32.0 (without its optimization),
# NumPy 2.4.6.
# Expected: what is simplified computes the same: a pool with pads, and with what is
# padded counted, is the pool of a padded image; maxima likewise, with minus infinity.
# Happens: with ceil_mode that is so only for windows that begin in the image or before
# it: one that begins in the pad at the end is left out (by the specification), where a
# Pad in front makes that place image like any other. Shapes change, and what follows is
# refused or, behind a global pool, answers otherwise. onnxsim compares with the model
# before only if it is asked to (check_n), and onnx.checker accepts the file.
# Remedy: skipped_optimizers=["fuse_pad_into_pool"].
# Seen (5 x 6 ones, Pad of 1 at each end, window 2, stride 2; before, after, with the remedy):
#   AveragePool: 3 x 4, mean 0.625; 3 x 4, mean 0.625; 3 x 4, mean 0.625
#   AveragePool, ceil_mode: 4 x 4, mean 0.469; 3 x 4, mean 0.625; 4 x 4, mean 0.469
#   MaxPool, ceil_mode: 4 x 4, least -inf; 3 x 4, least 1; 4 x 4, least -inf
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  onnxsim==0.8.1 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxsim
from onnx import TensorProto, helper, numpy_helper

x = np.ones((1, 1, 5, 6), np.float32)
OFF = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


def model(kind, value, ceil):
    """Return a model that pads x with a value, and pools it."""
    constants = {"p": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "v": np.float32(value)}
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, "h", "w"))
    window = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": ceil}
    nodes = [
        helper.make_node("Pad", ["x", "p", "v"], ["padded"]),
        helper.make_node(kind, ["padded"], ["y"], **window),
    ]
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def run(net):
    """Return what ONNX Runtime computes with the net as it is."""
    onnx.checker.check_model(net, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = OFF
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    data = net.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=providers)
    return session.run(None, {"x": x})[0][0, 0]


def told(kind, y):
    size = " x ".join(map(str, y.shape))
    mean = kind == "AveragePool"
    return f"{size}, mean {y.mean():.3g}" if mean else f"{size}, least {y.min():g}"


found = []
for kind, value, ceil in (
    ("AveragePool", 0, 0),
    ("AveragePool", 0, 1),
    ("MaxPool", -np.inf, 1),
):
    net = model(kind, value, ceil)
    short, _ = onnxsim.simplify(net)
    whole, _ = onnxsim.simplify(net, skipped_optimizers=["fuse_pad_into_pool"])
    each = "; ".join(told(kind, run(made)) for made in (net, short, whole))
    found.append(f"{kind}{', ceil_mode' * ceil}: {each}")
print(*found, sep="\n")
SEEN = """
AveragePool: 3 x 4, mean 0.625; 3 x 4, mean 0.625; 3 x 4, mean 0.625
AveragePool, ceil_mode: 4 x 4, mean 0.469; 3 x 4, mean 0.625; 4 x 4, mean 0.469
MaxPool, ceil_mode: 4 x 4, least -inf; 3 x 4, least 1; 4 x 4, least -inf
"""
if found != SEEN.strip().splitlines():
    sys.exit("changed")
PYTHON
