#!/bin/sh
# MNN's convolutions of 3 x 3 have three right digits at "precision": "high".
#
# Versions: MNN 3.6.1, NumPy 2.4.6; x86-64.
# Expected: float32 throughout, so that a sum of some thousand products is off by some
# 1e-6 of the largest output; a faster algorithm may lose a digit.
# Happens: from some size on Winograd's algorithm with large tiles is taken by itself,
# at high precision too, and loses three digits, a thousandfold. The session has no
# option for it by name in Python: the hint is a number.
# Remedy: Interpreter.setSessionHint(3, 0) before createSession (WINOGRAD_MEMORY_LEVEL).
# Seen (largest difference to sums in float64, of the largest output):
#   64 channels of 16 x 16: 5.2e-06; with the hint 7.7e-07
#   128 channels of 32 x 32: 1.7e-03; with the hint 1.5e-06
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


def error(channels, size, hints):
    """Return the largest error of a convolution, relative to the largest output."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1, channels, size, size)).astype(np.float32)
    weights = random.normal(size=(channels, channels, 3, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.float64(x[0]), (3, 3), (1, 2))
    wanted = np.einsum("chwij,kcij->khw", windows, np.float64(weights), optimize=True)
    options = f"num_output: {channels} kernel_size: 3 bias_term: false"
    text = source(*x.shape)
    text += layer("Convolution", "c", "x", f"convolution_param {{ {options} }}")
    found = run(text, x, blobs(c=("Convolution", weights)), hints=hints)["c"][0]
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


for channels, size in ((64, 16), (128, 32)):
    as_it_is, hinted = (error(channels, size, hints) for hints in ((), ((3, 0),)))
    told = f"{channels} channels of {size} x {size}: {as_it_is:.1e}"
    print(f"{told}; with the hint {hinted:.1e}", file=report)
if as_it_is < 1e-4 or hinted > 1e-5:
    sys.exit("changed")
PYTHON
