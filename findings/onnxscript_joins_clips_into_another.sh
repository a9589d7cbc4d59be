#!/bin/sh
# onnxscript's optimizer joins Clip and Relu into a Clip that returns other numbers.
#
# Versions: onnxscript 0.7.2, onnx-ir 1.1.0, onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: optimize, which torch.onnx.export applies to all that it writes, changes no
# result: what is between -2 and -1 is 0 after a Relu.
# Happens: two clips become one from the larger of the lower ends to the smaller of the
# upper ends. Where the ranges do not meet, its minimum is above its maximum, and Clip is
# then its maximum for every value: that of the first clip, not the end of the second.
# A Relu counts as a clip from 0 on; in front of a Clip it is right, behind it is wrong.
# A BatchNormalization with training_mode behind a Conv is folded too, with the stored
# statistics for those of the batch. Nothing warns. ONNX Runtime, onnxsim and onnxslim are
# right in all of it.
# Remedy: the optimization of one of those.
# Seen (x = -3, -1.5, 0.2, 2; before, after):
#   Clip to -2 and -1, Relu: 0 0 0 0; -1 -1 -1 -1
#   Clip to -2 and -1, Clip to 0 and 0.5: 0 0 0 0; -1 -1 -1 -1
#   Clip to -2 and 1, Relu: 0 0 0.2 1; 0 0 0.2 1
#   Relu, Clip to -2 and -1: -1 -1 -1 -1; -1 -1 -1 -1
#   Conv, BatchNormalization in training: -1.68 -0.676 0.461 1.66; -3 -1.5 0.2 2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  onnxscript==0.7.2 onnx-ir==1.1.0 onnx==1.23.2 numpy==2.4.6 sympy==1.14.0 \
  mpmath==1.3.0 protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

x = np.array([-3, -1.5, 0.2, 2], np.float32).reshape(1, 1, 1, 4)


def model(*layers):
    """Return a model of layers one behind the other: type, constants, attributes."""
    nodes, tensors, last = [], [], "x"
    for number, (kind, constants, options) in enumerate(layers):
        names = [f"{number}_{place}" for place in range(len(constants))]
        tensors += map(numpy_helper.from_array, map(np.float32, constants), names)
        extra = [f"{number}_mean", f"{number}_var"] if options else []
        top = "y" if number == len(layers) - 1 else f"top{number}"
        nodes.append(helper.make_node(kind, [last, *names], [top, *extra], **options))
        last = top
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", 17)]
    net = helper.make_model(graph, opset_imports=versions, ir_version=8)
    onnx.checker.check_model(net, full_check=True)
    return onnx.shape_inference.infer_shapes(net)


def run(net):
    providers = ["CPUExecutionProvider"]
    data = net.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=providers)
    y = session.run(["y"], {"x": x})[0]
    return " ".join(f"{value:.3g}" for value in y.ravel() + 0.0)


def clip(low, high):
    return "Clip", [low, high], {}


relu = "Relu", [], {}
conv = "Conv", [np.ones((1, 1, 1, 1))], {}
norm = "BatchNormalization", [[1], [0], [0], [1]], {"training_mode": 1}
found = []
for name, *layers in (
    ("Clip to -2 and -1, Relu", clip(-2, -1), relu),
    ("Clip to -2 and -1, Clip to 0 and 0.5", clip(-2, -1), clip(0, 0.5)),
    ("Clip to -2 and 1, Relu", clip(-2, 1), relu),
    ("Relu, Clip to -2 and -1", relu, clip(-2, -1)),
    ("Conv, BatchNormalization in training", conv, norm),
):
    net = model(*layers)
    before = run(net)
    found.append(f"{name}: {before}; {run(onnxscript.optimizer.optimize(net))}")
print(*found, sep="\n")
SEEN = """
Clip to -2 and -1, Relu: 0 0 0 0; -1 -1 -1 -1
Clip to -2 and -1, Clip to 0 and 0.5: 0 0 0 0; -1 -1 -1 -1
Clip to -2 and 1, Relu: 0 0 0.2 1; 0 0 0.2 1
Relu, Clip to -2 and -1: -1 -1 -1 -1; -1 -1 -1 -1
Conv, BatchNormalization in training: -1.68 -0.676 0.461 1.66; -3 -1.5 0.2 2
"""
if found != SEEN.strip().splitlines():
    sys.exit("changed")
PYTHON
