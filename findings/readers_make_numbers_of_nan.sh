#!/bin/sh
# NaN comes out of Sigmoid and TanH as 0 and -1 in OpenCV, as 1 and 1 in MNN.
#
# Versions: opencv-python-headless 4.14.0.94, MNN 3.6.1 (precision high), NumPy 2.4.6.
# Expected: NaN passes through functions of a value, so that a net that has gone wrong
# shows it at its outputs; and ReLU of minus infinity is 0.
# Happens: Sigmoid and TanH clamp first, and NaN becomes one of the ends, another one in
# each. MNN's ReLU and AbsVal make it 0. A ReLU computes a factor of 0 for what is
# negative, so that minus infinity becomes NaN, in both. Scores look like sure ones.
# Remedy: look for NaN before the last layer, or at the output of AbsVal in OpenCV.
# Seen (of NaN, minus infinity, 1):
#   OpenCV Sigmoid 0, 0, 0.731; TanH -1, -1, 0.762; AbsVal nan, inf, 1; ReLU nan, nan, 1
#   MNN Sigmoid 1, 1.65e-38, 0.731; TanH 1, -1, 0.762; AbsVal 0, inf, 1; ReLU 0, nan, 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6 opencv-python-headless==4.14.0.94 \
  MNN==3.6.1
cd "$folder"
"$folder/venv/bin/python" - 3>&1 > log <<'PYTHON'
import sys
from pathlib import Path

import _tools
import cv2
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


def opencv(text, x):
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(np.float32(x), "x")
    return np.array(net.forward("y"))


def mnn(text, x):
    return run(text, x)["y"]


# Four values at a time may take another way than what is left of them.
x = np.repeat([[[[np.nan, -np.inf, 1.0]]]], 4, axis=3)
found = []
for name, reader in (("OpenCV", opencv), ("MNN", mnn)):
    said = []
    for kind in ("Sigmoid", "TanH", "AbsVal", "ReLU"):
        values = reader(source(*x.shape) + layer(kind, "y", "x"), x)[0, 0, 0, ::4]
        told = ", ".join(f"{abs(v) if v == 0 else v:.3g}" for v in values)
        said.append(f"{kind} {told}")
    found.append("; ".join(said))
    print(f"{name} {found[-1]}", file=report)
wanted = [
    "Sigmoid 0, 0, 0.731; TanH -1, -1, 0.762; AbsVal nan, inf, 1; ReLU nan, nan, 1",
    "Sigmoid 1, 1.65e-38, 0.731; TanH 1, -1, 0.762; AbsVal 0, inf, 1; ReLU 0, nan, 1",
]
if found != wanted:
    sys.exit("changed")
PYTHON
