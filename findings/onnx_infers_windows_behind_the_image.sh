#!/bin/sh
# ONNX's shape inference has a row too many where pools of ceil_mode leave one out.
#
# Versions: onnx 1.23.2 (shape_inference, onnx.reference), onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: sizes inferred for a model are those of what it computes, in each opset.
# Happens: with ceil_mode a last window that would begin behind the image, in the pad at
# its end, is left out, as in Caffe and torch. The library that infers sizes leaves it
# out from opset 22 on only; its own reference and ONNX Runtime do so in all opsets. A
# model that went through infer_shapes then says of its pool, and of all behind it, what
# isn't so, and ONNX Runtime warns at each run and goes on.
# Remedy: opset 22; or sizes from a run.
# Seen (a side of 5, kernel 2, stride 2, pad 1; of 6, kernel 2, stride 3, no pad):
#   MaxPool, opset 19: inferred 4 3, reference 3 2, ONNX Runtime 3 2
#   MaxPool, opset 22: inferred 3 2, reference 3 2, ONNX Runtime 3 2
#   AveragePool, opset 19: inferred 4 3, reference 3 2, ONNX Runtime 3 2
#   AveragePool, opset 22: inferred 3 2, reference 3 2, ONNX Runtime 3 2
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
from onnx import TensorProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(3)


def sides(kind, opset, side, kernel, stride, pad):
    """Return the last side of a pool's output: inferred, of the reference, computed."""
    node = helper.make_node(
        kind,
        ["x"],
        ["y"],
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[pad] * 4,
        ceil_mode=1,
    )
    x = np.ones((1, 1, side, side), np.float32)
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "net", [source], [result])
    versions = [helper.make_opsetid("", opset)]
    net = helper.make_model(graph, opset_imports=versions, ir_version=8)
    output = shape_inference.infer_shapes(net).graph.output[0]
    inferred = output.type.tensor_type.shape.dim[3].dim_value
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=providers)
    reference = ReferenceEvaluator(net).run(None, {"x": x})[0]
    return inferred, reference.shape[3], session.run(None, {"x": x})[0].shape[3]


found = []
for kind in ("MaxPool", "AveragePool"):
    for opset in (19, 22):
        both = zip(sides(kind, opset, 5, 2, 2, 1), sides(kind, opset, 6, 2, 3, 0))
        texts = ["{} {}".format(*pair) for pair in both]
        line = "{}, opset {}: inferred {}, reference {}, ONNX Runtime {}"
        found.append(line.format(kind, opset, *texts))
        print(found[-1])
if found != [
    "MaxPool, opset 19: inferred 4 3, reference 3 2, ONNX Runtime 3 2",
    "MaxPool, opset 22: inferred 3 2, reference 3 2, ONNX Runtime 3 2",
    "AveragePool, opset 19: inferred 4 3, reference 3 2, ONNX Runtime 3 2",
    "AveragePool, opset 22: inferred 3 2, reference 3 2, ONNX Runtime 3 2",
]:
    sys.exit("changed")
PYTHON
