#!/bin/sh
# OpenCV and MNN ignore the k of LRN, and OpenVINO cuts it to a whole number.
#
# Versions: opencv-python-headless 4.14.0.94, MNN 3.6.1 (their readers of Caffe files),
# OpenVINO 2026.4.1 (its own operator, on a CPU), ONNX Runtime 1.32.0, onnx 1.23.2,
# NumPy 2.4.6.
# Expected: x / (k + alpha / size * sum of squares)^beta with the k that is given. It is
# a float in the schema of Caffe (`k: 2` in AlexNet's paper), of ONNX (`bias`) and of
# OpenVINO (`bias`).
# Happens: OpenCV and MNN compute with 1 and say nothing. OpenVINO takes 0 for 0.5 and 2
# for 2.5, in every net with an LRN, whatever file it came from. ONNX Runtime is right.
# And where alpha is left out, which is 1 in Caffe, OpenCV takes 0.0001; MNN takes 1.
# Remedy: alpha / k with a k of 1, and the output times k^-beta.
# Seen (channels 1, 2, 3, 4; size 5, alpha 1, beta 0.75; the last channel):
#   k 0.5: right 1.006; OpenCV 0.9499; MNN 0.9499; OpenVINO 1.07; ONNX Runtime 1.006
#   k 1: right 0.9499; OpenCV 0.9499; MNN 0.9499; OpenVINO 0.9499; ONNX Runtime 0.9499
#   k 2.5: right 0.818; OpenCV 0.9499; MNN 0.9499; OpenVINO 0.857; ONNX Runtime 0.818
#   no alpha: right 0.9499; OpenCV 3.998; MNN 0.9499
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6 opencv-python-headless==4.14.0.94 MNN==3.6.1 \
  openvino==2026.4.1 openvino-telemetry==2025.2.0 \
  onnx==1.23.2 protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
cd "$folder"
"$folder/venv/bin/python" - 3>&1 > log <<'PYTHON'
import sys
from pathlib import Path

import _tools
import cv2
import MNN
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from openvino import Core, Model, opset13

report = open(3, "w")
SHAPE = (1, 4, 1, 1)
X = np.float32([1, 2, 3, 4]).reshape(SHAPE)


def right(k):
    sums = [14, 30, 30, 29]  # of squares, two channels to each side
    return X.ravel() / (k + np.array(sums) / 5) ** 0.75


def text(options):
    shape = "shape { dim: 1 dim: 4 dim: 1 dim: 1 }"
    return (
        f'layer {{ name: "x" type: "Input" top: "x" input_param {{ {shape} }} }}\n'
        'layer { name: "y" type: "LRN" bottom: "x" top: "y" '
        f"lrn_param {{ {options} }} }}\n"
    )


def opencv(options):
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text(options).encode(), np.uint8))
    net.setInput(X, "x")
    return net.forward("y")


def mnn(options):
    Path("net.prototxt").write_text(text(options))
    Path("net.caffemodel").write_bytes(b"\n\3net")
    arguments = "mnnconvert -f CAFFE --modelFile net.caffemodel --prototxt net.prototxt"
    _tools.mnnconvert([*arguments.split(), "--bizCode", "x", "--MNNModel", "net.mnn"])
    net = MNN.Interpreter("net.mnn")
    session = net.createSession({"numThread": 1, "backend": "CPU", "precision": "high"})
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    net.getSessionInput(session).copyFrom(MNN.Tensor(SHAPE, kind, X, order))
    net.runSession(session)
    host = MNN.Tensor(SHAPE, kind, np.zeros(SHAPE, np.float32), order)
    net.getSessionOutput(session).copyToHostTensor(host)
    return np.array(host.getNumpyData())


def openvino(k):
    x = opset13.parameter(SHAPE, np.float32)
    y = opset13.lrn(x, opset13.constant(np.array([1])), 1.0, 0.75, k, 5)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return Core().compile_model(Model([y], [x]), "CPU", exact)([X])[0]


def runtime(k):
    node = helper.make_node("LRN", ["x"], ["y"], alpha=1.0, beta=0.75, bias=k, size=5)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "net", [x], [y])
    versions = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": X})[0]


def agree(found, k):
    return np.allclose(np.ravel(found), right(k), atol=1e-4)


def told(k, **found):
    values = {"right": right(k), **found}
    each = (f"{name} {np.ravel(v)[-1]:.4g}" for name, v in values.items())
    return "; ".join(each).replace("_", " ")


changed = False
for k, taken in ((0.5, 0), (1, 1), (2.5, 2)):
    options = f"alpha: 1 k: {k}"
    found = {
        "OpenCV": opencv(options),
        "MNN": mnn(options),
        "OpenVINO": openvino(float(k)),
        "ONNX_Runtime": runtime(float(k)),
    }
    print(f"k {k}: {told(k, **found)}", file=report)
    for value, its in zip(found.values(), (1, 1, taken, k), strict=True):
        changed |= not agree(value, its)
found = {"OpenCV": opencv(""), "MNN": mnn("")}
print(f"no alpha: {told(1, **found)}", file=report)
changed |= agree(found["OpenCV"], 1) or not agree(found["MNN"], 1)
if changed:
    sys.exit("changed")
PYTHON
