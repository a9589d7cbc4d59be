#!/bin/sh
# ONNX Runtime's maxima are NaN or not by the place of the NaN.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2 (onnx.reference), NumPy 2.4.6; x86-64.
# Expected: NaN is either the maximum, as in NumPy and in ONNX's reference, or ignored;
# one or the other for a node, and the same for all that take a maximum.
# Happens: ReduceMax has NaN if it comes first, GlobalMaxPool if it comes last, and each
# of them loses it at other places; of 1, NaN, 2, 3 ReduceMax returns 2, neither NaN nor
# the largest of the others. ArgMax returns the place of the largest of the others, but
# for a NaN at the front. So a check for NaN behind such a node finds some.
# Remedy: IsNaN before it, where NaN matters.
# Seen (1, 2, 3 with NaN as the first, second, last value):
#   ReduceMax nan, 2, 3; the reference nan, nan, nan
#   GlobalMaxPool 3, 3, nan; the reference nan, nan, nan
#   ArgMax 0, 3, 2; the reference 0, 1, 3
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


def model(nodes, x, *, opset=17, kind=TensorProto.FLOAT, **constants):
    """Return a model of nodes from x to y."""
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def run(net, x):
    """Return what ONNX Runtime computes."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=providers)
    return session.run(None, {"x": x})[0]


found = {}
for name, kind, options in (
    ("ReduceMax", TensorProto.FLOAT, {"axes": [3]}),
    ("GlobalMaxPool", TensorProto.FLOAT, {}),
    ("ArgMax", TensorProto.INT64, {"axis": 3}),
):
    pairs = []
    for place in (0, 1, 3):
        x = np.insert(np.float32([1, 2, 3]), place, np.nan).reshape(1, 1, 1, 4)
        net = model([helper.make_node(name, ["x"], ["y"], **options)], x, kind=kind)
        both = run(net, x), ReferenceEvaluator(net).run(None, {"x": x})[0]
        pairs.append([f"{y.item():g}" for y in both])
    found[name] = tuple(", ".join(each) for each in zip(*pairs, strict=True))
    print(f"{name} {found[name][0]}; the reference {found[name][1]}")
if found != {
    "ReduceMax": ("nan, 2, 3", "nan, nan, nan"),
    "GlobalMaxPool": ("3, 3, nan", "nan, nan, nan"),
    "ArgMax": ("0, 3, 2", "0, 1, 3"),
}:
    sys.exit("changed")
PYTHON
