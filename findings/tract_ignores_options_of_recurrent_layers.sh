#!/bin/sh
# tract runs a recurrent layer in reverse as one that goes forward, with default gates.
#
# Versions: tract 0.23.9, onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.6.
# Expected: `direction` "reverse" is right, as "bidirectional" is, of which it is a half;
# `activations`, `clip` and `input_forget` are right, or an error says that tract has no
# such thing, as it says of sequences of several lengths.
# Happens, and nothing warns: of RNN, GRU and LSTM alike, each option counts for nothing.
# An RNN with Relu is one with Tanh, and a layer in reverse reads from the first step on;
# nets of speech and text go on to give likely answers. Only two directions at once,
# initial states, linear_before_reset and peepholes are as they should be.
# Remedy: the "bidirectional" layer, its other half cut off; or, for what is in reverse,
# a Slice with step -1 before and behind a forward layer.
# Seen (x = 1, 2, 3, weights 0.5; the three outputs by tract, by ONNX Runtime):
#   RNN: 0.462 0.843 0.958; 0.462 0.843 0.958
#   RNN activations=Relu: 0.462 0.843 0.958; 0.500 1.250 2.125
#   RNN direction=reverse: 0.462 0.843 0.958; 0.739 0.896 0.905
#   RNN clip=0.25: 0.462 0.843 0.958; 0.245 0.245 0.245
#   GRU direction=reverse: 0.174 0.329 0.424; 0.397 0.322 0.165
#   GRU clip=0.25: 0.174 0.329 0.424; 0.107 0.168 0.201
#   LSTM direction=reverse: 0.174 0.501 0.770; 0.606 0.658 0.514
#   LSTM clip=0.25: 0.174 0.501 0.770; 0.077 0.119 0.142
#   LSTM input_forget=1: 0.174 0.501 0.770; 0.174 0.436 0.606
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  tract==0.23.9 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
x = np.array([1, 2, 3], np.float32).reshape(3, 1, 1)


def model(kind, options):
    """Return a model of one recurrent layer of one unit, its weights 0.5."""
    weights = np.full((1, GATES[kind], 1), 0.5, np.float32)
    tensors = [numpy_helper.from_array(weights, name) for name in "wr"]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 1, 1, 1))
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=1, **options)
    graph = helper.make_graph([node], "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", 14)]
    made = helper.make_model(graph, opset_imports=versions, ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def told(values):
    return " ".join(f"{value:.3f}" for value in np.ravel(values))


def written(value):
    return " ".join(value) if isinstance(value, list) else value


def both(kind, options):
    """Return a line of what tract computes, and ONNX Runtime."""
    onnx.save(model(kind, options), "net.onnx")
    net = tract.onnx().load("net.onnx").into_model().into_runnable()
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession("net.onnx", providers=providers)
    name = " ".join([kind, *(f"{key}={written(options[key])}" for key in options)])
    ours = told(net.run([x])[0].to_numpy())
    return f"{name}: {ours}; {told(session.run(None, {'x': x})[0])}"


cases = [("RNN", {}), ("RNN", {"activations": ["Relu"]})]
for kind in GATES:
    cases += [(kind, {"direction": "reverse"}), (kind, {"clip": 0.25})]
cases += [("LSTM", {"input_forget": 1})]
found = [both(*case) for case in cases]
print(*found, sep="\n")
SEEN = """
RNN: 0.462 0.843 0.958; 0.462 0.843 0.958
RNN activations=Relu: 0.462 0.843 0.958; 0.500 1.250 2.125
RNN direction=reverse: 0.462 0.843 0.958; 0.739 0.896 0.905
RNN clip=0.25: 0.462 0.843 0.958; 0.245 0.245 0.245
GRU direction=reverse: 0.174 0.329 0.424; 0.397 0.322 0.165
GRU clip=0.25: 0.174 0.329 0.424; 0.107 0.168 0.201
LSTM direction=reverse: 0.174 0.501 0.770; 0.606 0.658 0.514
LSTM clip=0.25: 0.174 0.501 0.770; 0.077 0.119 0.142
LSTM input_forget=1: 0.174 0.501 0.770; 0.174 0.436 0.606
"""
if found != SEEN.strip().splitlines():
    sys.exit("changed")
PYTHON
