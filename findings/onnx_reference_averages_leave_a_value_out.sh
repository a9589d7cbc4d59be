#!/bin/sh
# ONNX's reference AveragePool with ceil_mode has averages of a part of whole windows.
#
# Versions: onnx 1.23.2 (onnx.reference), onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: ceil_mode adds a last window, and changes none of those that lie inside; if
# something is wrong, it is what that last window is divided by.
# Happens: all windows are others. Of 1 to 7 with kernel and stride 3 the first window,
# 1 2 3, has the average 1.5, that of 1 2. Without ceil_mode it is 2. Where the windows
# end with the image, both agree.
# Remedy: compare with ONNX Runtime; or write explicit padding and ceil_mode=0.
# Seen (kernel 3, stride 3):
#   1 to 7: reference 1.5 4 6; ONNX Runtime 2 5 7; reference without ceil_mode 2 5
#   1 to 6: reference 2 5; ONNX Runtime 2 5; reference without ceil_mode 2 5
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


found = []
for size in (7, 6):
    x = np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, size)
    options = {"kernel_shape": [3], "strides": [3]}
    nodes = (
        helper.make_node("AveragePool", ["x"], ["y"], ceil_mode=ceil_mode, **options)
        for ceil_mode in (1, 0)
    )
    up, down = (model([node], x, opset=19) for node in nodes)
    reference, plain = (
        ReferenceEvaluator(net).run(None, {"x": x})[0] for net in (up, down)
    )
    values = [y.ravel().tolist() for y in (reference, run(up, x), plain)]
    told = "reference {}; ONNX Runtime {}; reference without ceil_mode {}"
    texts = (" ".join(f"{value:g}" for value in each) for each in values)
    print(f"1 to {size}: {told.format(*texts)}")
    found.append(values)
if found != [[[1.5, 4, 6], [2, 5, 7], [2, 5]], [[2, 5]] * 3]:
    sys.exit("changed")
PYTHON
