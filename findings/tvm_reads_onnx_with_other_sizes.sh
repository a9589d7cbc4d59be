#!/bin/sh
# TVM's reader of ONNX returns other sizes for options and inputs that it overlooks.
#
# Versions: apache-tvm 0.27.0.post1 (relax.frontend.onnx), onnx 1.23.2, onnxruntime
# 1.32.0, NumPy 2.4.6.
# Expected: right, or an error; TVM refuses RNN, GRU and LSTM so.
# Happens, and nothing warns:
#   output_shape of a ConvTranspose counts for nothing.
#   MaxPool with SAME_LOWER has no padding at all, and loses a row and a column. SAME_UPPER
#   is right, and so is AveragePool with both.
#   Expand to a shape that is an input of the model takes it for the new shape, where ONNX
#   takes the larger of the two sizes: a 1 in it cuts an axis off. As a constant it is right.
#   IsInf finds both infinities where detect_negative or detect_positive is 0.
# Remedy: pads in place of output_shape and auto_pad; shapes as constants.
# Seen (TVM, ONNX Runtime):
#   ConvTranspose to 6 x 6: 1 x 1 x 7 x 7, sum 81; 1 x 1 x 6 x 6, sum 64
#   ConvTranspose to 8 x 8: 1 x 1 x 7 x 7, sum 81; 1 x 1 x 8 x 8, sum 81
#   MaxPool, SAME_LOWER: 1 x 1 x 2 x 2, sum 48; 1 x 1 x 3 x 3, sum 108
#   MaxPool, SAME_UPPER: 1 x 1 x 3 x 3, sum 144; 1 x 1 x 3 x 3, sum 144
#   Expand, a constant: 2 x 3 x 6, sum 36; 2 x 3 x 6, sum 36
#   Expand, an input: 2 x 1 x 6, sum 12; 2 x 3 x 6, sum 36
#   IsInf, detect_negative 0: 4, sum 3; 4, sum 1
#   IsInf, detect_positive 0: 4, sum 3; 4, sum 2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.15.post2 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
cd "$folder"
"$folder/venv/bin/python" - 3>&1 > log 2>&1 <<'PYTHON' || { tail -n 3 log; exit 1; }
import sys

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

report = open(3, "w")
TYPES = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}


def described(name, array):
    return helper.make_tensor_value_info(name, TYPES[array.dtype.kind], array.shape)


def model(kind, inputs, constants, y, options):
    """Return a model of one layer."""
    names = [*"abc"[: len(inputs)], *"uvw"[: len(constants)]]
    node = helper.make_node(kind, names, ["y"], **options)
    sources = [described(name, x) for name, x in zip(names, inputs)]
    pairs = zip(constants, names[len(inputs) :], strict=True)
    tensors = [numpy_helper.from_array(*pair) for pair in pairs]
    graph = helper.make_graph([node], "net", sources, [described("y", y)], tensors)
    versions = [helper.make_opsetid("", 20)]
    net = helper.make_model(graph, opset_imports=versions, ir_version=9)
    onnx.checker.check_model(net, full_check=True)
    return net


def told(y):
    return f"{' x '.join(map(str, y.shape))}, sum {y.sum():g}"


def run(name, kind, inputs, constants, right, **options):
    """Report what TVM computes, and ONNX Runtime."""
    y = np.empty(*right)
    net = model(kind, inputs, constants, y, options)
    data = net.SerializeToString()
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(data, providers=providers)
    expected = session.run(None, dict(zip("abc", inputs)))[0]
    program = tvm.compile(from_onnx(net), target="llvm")
    machine = relax.VirtualMachine(program, tvm.cpu())
    result = machine["main"](*map(tvm.runtime.tensor, inputs))
    seen = result if hasattr(result, "numpy") else result[0]
    found.append(f"{name}: {told(seen.numpy())}; {told(expected)}")
    print(found[-1], file=report)


found = []
ones = np.ones((1, 1, 3, 3), np.float32)
step = {"strides": [2, 2]}
size = np.dtype("f4")
for wide in (6, 8):
    step["output_shape"] = [wide, wide]
    name, right = f"ConvTranspose to {wide} x {wide}", ((1, 1, wide, wide), size)
    run(name, "ConvTranspose", [ones], [ones], right, **step)
plane = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
window = {"kernel_shape": [2, 2], "strides": [2, 2]}
for pad in ("SAME_LOWER", "SAME_UPPER"):
    right = (1, 1, 3, 3), size
    run(f"MaxPool, {pad}", "MaxPool", [plane], [], right, auto_pad=pad, **window)
column, shape = np.ones((3, 1), np.float32), np.int64([2, 1, 6])
run("Expand, a constant", "Expand", [column], [shape], ((2, 3, 6), size))
run("Expand, an input", "Expand", [column, shape], [], ((2, 3, 6), size))
odd = np.float32([1, np.inf, -np.inf, -np.inf])
for each in ("negative", "positive"):
    options = {f"detect_{each}": 0}
    run(f"IsInf, detect_{each} 0", "IsInf", [odd], [], (4, bool), **options)
SEEN = """
ConvTranspose to 6 x 6: 1 x 1 x 7 x 7, sum 81; 1 x 1 x 6 x 6, sum 64
ConvTranspose to 8 x 8: 1 x 1 x 7 x 7, sum 81; 1 x 1 x 8 x 8, sum 81
MaxPool, SAME_LOWER: 1 x 1 x 2 x 2, sum 48; 1 x 1 x 3 x 3, sum 108
MaxPool, SAME_UPPER: 1 x 1 x 3 x 3, sum 144; 1 x 1 x 3 x 3, sum 144
Expand, a constant: 2 x 3 x 6, sum 36; 2 x 3 x 6, sum 36
Expand, an input: 2 x 1 x 6, sum 12; 2 x 3 x 6, sum 36
IsInf, detect_negative 0: 4, sum 3; 4, sum 1
IsInf, detect_positive 0: 4, sum 3; 4, sum 2
"""
if found != SEEN.strip().splitlines():
    sys.exit("changed")
PYTHON
