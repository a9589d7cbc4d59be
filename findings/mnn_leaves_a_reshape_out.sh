#!/bin/sh
# MNN leaves a Reshape before an InnerProduct out, and then has an empty output.
#
# Versions: MNN 3.6.1, NumPy 2.4.6.
# Expected: an InnerProduct takes the rows that a Reshape has made: of 1 x 1 x 2 x 3, as
# 2 x 3, with weights for three values, two outputs.
# Happens: the converter removes the Reshape, as an InnerProduct flattens by itself.
# That is equal only if the Reshape keeps the batch. Here the weights no longer fit:
# converter and session say nothing, and the output has the shape 0, 0, 0, 0.
# Remedy: a Power that changes nothing between the two.
# Seen (1 to 6; weights 1, 10, 100):
#   Reshape, InnerProduct: shape (0, 0, 0, 0)
#   Reshape, Power, InnerProduct: 321 654
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6 MNN==3.6.1
cd "$folder"
"$folder/venv/bin/python" - 3>&1 > log <<'PYTHON'
import sys
from pathlib import Path

import _tools
import MNN
import numpy as np


report = open(3, "w")

def number(n):
    """Return a number as protobuf writes it."""
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + number(n >> 7)


def field(key, data):
    return number(key << 3 | 2) + number(len(data)) + data


def blobs(**layers):
    """Return a NetParameter of the values of layers: type, arrays."""
    net = b""
    for name, (kind, *arrays) in layers.items():
        layer = field(1, name.encode()) + field(2, kind.encode())
        for array in arrays:
            shape = field(1, b"".join(map(number, array.shape)))
            layer += field(7, field(7, shape) + field(5, array.astype("<f4").tobytes()))
        net += field(100, layer)
    return net


def source(*shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    options = f"input_param {{ shape {{ {dims} }} }}"
    return f'layer {{ name: "x" type: "Input" top: "x" {options} }}\n'


def layer(kind, name, bottoms, options="", top=None):
    blobs = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    blobs += f' top: "{top or name}"'
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {options} }}\n'


def run(text, x, model=b"", *, hints=()):
    """Return all outputs that MNN has for the input x."""
    Path("net.prototxt").write_text(text)
    Path("net.caffemodel").write_bytes(model or field(1, b"net"))
    arguments = "mnnconvert -f CAFFE --modelFile net.caffemodel --prototxt net.prototxt"
    _tools.mnnconvert([*arguments.split(), "--bizCode", "x", "--MNNModel", "net.mnn"])
    net = MNN.Interpreter("net.mnn")
    for hint in hints:
        net.setSessionHint(*hint)
    session = net.createSession({"numThread": 1, "backend": "CPU", "precision": "high"})
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    x = np.ascontiguousarray(x, np.float32)
    net.getSessionInput(session).copyFrom(MNN.Tensor(x.shape, kind, x, order))
    net.runSession(session)
    found = {}
    for name, output in net.getSessionOutputAll(session).items():
        shape = output.getShape()
        host = MNN.Tensor(shape, kind, np.zeros(shape, np.float32), order)
        output.copyToHostTensor(host)
        found[name] = np.array(host.getNumpyData()).reshape(shape)
    return found


x = np.arange(1, 7).reshape(1, 1, 2, 3)
values = blobs(y=("InnerProduct", np.array([[1, 10, 100]])))
found = []
for between in (False, True):
    reshape = "reshape_param { shape { dim: 2 dim: 3 } }"
    text = source(*x.shape) + layer("Reshape", "r", "x", reshape)
    if between:
        text += layer("Power", "a", "r")
    options = "inner_product_param { num_output: 1 bias_term: false }"
    text += layer("InnerProduct", "y", "a" if between else "r", options)
    y = run(text, x, values)["y"]
    numbers = " ".join(f"{value:g}" for value in y.ravel())
    found.append(numbers or f"shape {y.shape}")
    names = "Reshape, Power, InnerProduct" if between else "Reshape, InnerProduct"
    print(f"{names}: {found[-1]}", file=report)
if found != ["shape (0, 0, 0, 0)", "321 654"]:
    sys.exit("changed")
PYTHON
