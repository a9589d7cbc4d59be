#!/bin/sh
# onnxoptimizer joins a Pad of zeros with the MaxPool behind it: other maxima.
#
# Versions: onnxoptimizer 0.4.2, onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: optimize(model) keeps what a model computes. Zeros around an image can go
# into an AveragePool, which can count its padding, and not into a MaxPool, whose
# padding takes no part in a maximum.
# Happens: both are joined, by fuse_pad_into_pool, one of the default passes. At the rim
# of negative values the maximum was 0 and becomes negative. Pads in front of pools are
# what exporters write for frameworks whose pools pad with zeros. An AveragePool that
# doesn't count a pad of its own is joined as well, and then counts that too.
# Remedy: a list of passes without fuse_pad_into_pool. After a Relu maxima are the same.
# Seen (of -1, 4 x 4, zeros around, kernel 3, stride 2; first value before; after):
#   MaxPool: 0; -1
#   AveragePool: -0.444; -0.444
#   AveragePool with another pad, not counted: -0.25; -0.111
#   MaxPool without that pass: 0; 0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  onnxoptimizer==0.4.2 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(3)
x = np.full((1, 1, 4, 4), -1, np.float32)


def model(kind, **options):
    """Return a model of a Pad of zeros and a pool of a kind."""
    pads = numpy_helper.from_array(np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "pads")
    options |= {"kernel_shape": [3, 3], "strides": [2, 2]}
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node(kind, ["padded"], ["y"], **options),
    ]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [source], [result], [pads])
    versions = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def first(net):
    """Return the first value that ONNX Runtime computes."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=providers)
    return f"{session.run(None, {'x': x})[0].flat[0]:.3g}"


passes = onnxoptimizer.get_fuse_and_elimination_passes()
without = [name for name in passes if name != "fuse_pad_into_pool"]
found = []
for what, net, optimize in [
    ("MaxPool", model("MaxPool"), onnxoptimizer.optimize),
    ("AveragePool", model("AveragePool"), onnxoptimizer.optimize),
    (
        "AveragePool with another pad, not counted",
        model("AveragePool", pads=[1, 1, 1, 1]),
        onnxoptimizer.optimize,
    ),
    (
        "MaxPool without that pass",
        model("MaxPool"),
        lambda net: onnxoptimizer.optimize(net, without),
    ),
]:
    found.append(f"{what}: {first(net)}; {first(optimize(net))}")
    print(found[-1])
if found != [
    "MaxPool: 0; -1",
    "AveragePool: -0.444; -0.444",
    "AveragePool with another pad, not counted: -0.25; -0.111",
    "MaxPool without that pass: 0; 0",
]:
    sys.exit("changed")
PYTHON
