#!/bin/sh
# MNN reads the blob as it was before an Eltwise that writes it in place.
#
# Versions: MNN 3.6.1, NumPy 2.4.6.
# Expected: a layer whose top has the name of a bottom writes in place, and what comes
# behind reads what it wrote; MNN's converter has that right for ReLU, Scale, BatchNorm.
# Happens: for an Eltwise of two blobs into one of them, the layer behind gets the old
# blob. The sum is left out of the net, in silence, and the other bottom becomes an
# output.
# Remedy: a top of its own for the Eltwise.
# Seen (a = 2 x, b = 3 x, then 10 times the sum, for x = 1):
#   sum in c: 50
#   sum in a: 20
#   sum in b: 30
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
for top in "cab":
    text = source(1, 1, 2, 3) + layer("Power", "a", "x", "power_param { scale: 2 }")
    text += layer("Power", "b", "x", "power_param { scale: 3 }")
    text += layer("Eltwise", "sum", "a b", top=top)
    text += layer("Power", "y", top, "power_param { scale: 10 }")
    (value,) = set(run(text, np.ones((1, 1, 2, 3)))["y"].ravel())
    print(f"sum in {top}: {value:g}", file=report)
    found.append(float(value))
if found != [50, 20, 30]:
    sys.exit("changed")
PYTHON
