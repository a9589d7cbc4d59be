#!/bin/sh
# MNN enlarges by 1 + 1 / zoom_factor where a net says zoom_factor.
#
# Versions: MNN 3.6.1, NumPy 2.4.6.
# Expected: Interp as in DeepLab, whose layer it is: zoom_factor z makes
# h + (h - 1) (z - 1) rows of h, shrink_factor s makes (h - 1) / s + 1, both one after
# the other, and pads are cut off or added first. Or else an error.
# Happens: the sizes are multiplied by a sum of reciprocals, 1 + 1 / z, 1 / s or
# 1 / z + 1 / s, and rounded down. So a factor of 8 adds an eighth, and one of 1 doubles
# the image. Pads are ignored, also beside height and width. Nothing warns.
# Remedy: height and width, and a Crop for the pads.
# Seen (7 x 10; rows x columns of the output, and what DeepLab has):
#   zoom_factor: 1: 14 x 20, not 7 x 10
#   zoom_factor: 3: 9 x 13, not 19 x 28
#   zoom_factor: 8: 7 x 11, not 49 x 73
#   shrink_factor: 2: 3 x 5, not 4 x 5
#   shrink_factor: 2 zoom_factor: 4: 5 x 7, not 13 x 17
#   zoom_factor: 3 pad_beg: -1: 9 x 13, not 16 x 25
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


def source(*shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    options = f"input_param {{ shape {{ {dims} }} }}"
    return f'layer {{ name: "x" type: "Input" top: "x" {options} }}\n'


def layer(kind, name, bottoms, options="", top=None):
    blobs = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    blobs += f' top: "{top or name}"'
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {options} }}\n'


def run(text, x, model=b""):
    """Return all outputs that MNN has for the input x."""
    Path("net.prototxt").write_text(text)
    Path("net.caffemodel").write_bytes(model or field(1, b"net"))
    arguments = "mnnconvert -f CAFFE --modelFile net.caffemodel --prototxt net.prototxt"
    _tools.mnnconvert([*arguments.split(), "--bizCode", "x", "--MNNModel", "net.mnn"])
    net = MNN.Interpreter("net.mnn")
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


def size(options):
    """Return rows and columns of the output of Interp."""
    text = source(1, 1, 7, 10)
    text += layer("Interp", "y", "x", f"interp_param {{ {options} }}")
    return run(text, np.ones((1, 1, 7, 10)))["y"].shape[2:]


def deeplab(zoom=1, shrink=1, begin=0):
    """Return rows and columns as DeepLab has them."""
    shrunk = ((n + begin - 1) // shrink + 1 for n in (7, 10))
    return tuple(n + (n - 1) * (zoom - 1) for n in shrunk)


SEEN = {
    "zoom_factor: 1": ((14, 20), deeplab()),
    "zoom_factor: 3": ((9, 13), deeplab(3)),
    "zoom_factor: 8": ((7, 11), deeplab(8)),
    "shrink_factor: 2": ((3, 5), deeplab(shrink=2)),
    "shrink_factor: 2 zoom_factor: 4": ((5, 7), deeplab(4, 2)),
    "zoom_factor: 3 pad_beg: -1": ((9, 13), deeplab(3, begin=-1)),
}
changed = False
for options, (seen, right) in SEEN.items():
    found = size(options)
    changed |= found != seen
    told = ("{} x {}".format(*each) for each in (found, right))
    print("{}: {}, not {}".format(options, *told), file=report)
if changed:
    sys.exit("changed")
PYTHON
