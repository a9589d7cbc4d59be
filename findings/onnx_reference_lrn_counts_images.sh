#!/bin/sh
# ONNX's reference LRN works on as many channels as there are images.
#
# Versions: onnx 1.23.2 (onnx.reference), onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: the reference is slow and right: what a runtime is compared with.
# Happens: its loop over channels ends at the size of the batch. With one image only the
# first channel is normalised, the others are returned as they are; with as many images
# as channels all is right, and with more it fails with an IndexError. ONNX's own test
# of LRN has 5 images of 5 channels.
# Remedy: compare LRN with ONNX Runtime, or repeat the images for the reference.
# Seen (ones of 5 channels, size 3, alpha 3; of the first image):
#   1 images: reference 0.333 1 1 1 1; ONNX Runtime 0.333 0.25 0.25 0.25 0.333
#   2 images: reference 0.333 0.25 1 1 1; ONNX Runtime the same as above
#   5 images: both the same as above
#   6 images: reference IndexError
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


def model(nodes, x, *, opset=17, **constants):
    """Return a model of nodes from x to y."""
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def run(net, x):
    """Return what ONNX Runtime computes."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=providers)
    return session.run(None, {"x": x})[0]


right = [0.333, 0.25, 0.25, 0.25, 0.333]
changed = False
for images in (1, 2, 5):
    x = np.ones((images, 5, 1, 1), np.float32)
    options = {"size": 3, "alpha": 3.0, "beta": 1.0, "bias": 1.0}
    net = model([helper.make_node("LRN", ["x"], ["y"], **options)], x)
    pair = ReferenceEvaluator(net).run(None, {"x": x})[0], run(net, x)
    found, other = ([round(float(v), 3) for v in y[0, :, 0, 0]] for y in pair)
    told = (" ".join(f"{value:g}" for value in values) for values in (found, other))
    print("{} images: reference {}; ONNX Runtime {}".format(images, *told))
    changed |= other != right or found != right[:images] + [1] * (5 - images)
x = np.ones((6, 5, 1, 1), np.float32)
net = model([helper.make_node("LRN", ["x"], ["y"], **options)], x)
try:
    ReferenceEvaluator(net).run(None, {"x": x})
    changed = True
except IndexError:
    print("6 images: reference IndexError")
if changed:
    sys.exit("changed")
PYTHON
