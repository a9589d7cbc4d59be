#!/bin/sh
# MNN's converter drops an output of a net if another one computes the same.
#
# Versions: MNN 3.6.1, NumPy 2.4.6.
# Expected: outputs that compute the same may share the work, yet each is still there by
# its name, as an optimizer must not change what a net returns.
# Happens: of two layers of one kind, with equal options and bottoms, one is kept, and
# with the other its output is gone: the dictionary has one name only. So it is in nets
# whose two heads begin with equal weights, or in a siamese net for testing.
# Remedy: something different behind one of them, such as Power with factors 2 and 1/2.
# Seen (outputs of x for two Power layers a and b):
#   a: 2 x, b: 2 x: found b
#   a: 2 x, b: 3 x: found a, b
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


found = []
for factor in (2, 3):
    text = source(1, 1, 2, 3) + layer("Power", "a", "x", "power_param { scale: 2 }")
    text += layer("Power", "b", "x", f"power_param {{ scale: {factor} }}")
    found.append(sorted(run(text, np.ones((1, 1, 2, 3)))))
    print(f"a: 2 x, b: {factor} x: found {', '.join(found[-1])}", file=report)
if found != [["b"], ["a", "b"]]:
    sys.exit("changed")
PYTHON
