#!/bin/sh
# IREE compiles options of ONNX layers away, and the program computes otherwise.
#
# Versions: iree-base-compiler and iree-base-runtime 3.13.0, onnx 1.23.2, onnxruntime
# 1.32.0, NumPy 2.4.6.
# Expected: what is not supported fails to compile, as an RNN in reverse does, and a clip
# of GRU and LSTM.
# Happens, and nothing warns:
#   sequence_lens of recurrent layers and the peepholes of an LSTM count for nothing, nor
#   does the clip of an RNN.
#   HardSigmoid for the gates of GRU and LSTM is not from 0 to 1: of what is positive it is
#   the number itself, so that a gate of 2 is open twice. Relu in its place is right.
#   AveragePool with ceil_mode and count_include_pad divides windows beyond the pad by
#   their whole size.
# Remedy: sequences cut by the caller; pads in place of ceil_mode.
# Seen (x = 1, 2, 3, weights 0.5, peepholes 1; 3 ones by a window of 2; IREE, ONNX
# Runtime):
#   RNN: 0.462 0.843 0.958; 0.462 0.843 0.958
#   RNN of 2 steps: 0.462 0.843 0.958; 0.462 0.843 0
#   GRU of 2 steps: 0.174 0.329 0.424; 0.174 0.329 0
#   LSTM of 2 steps: 0.174 0.501 0.77; 0.174 0.501 0
#   RNN, clip 0.25: 0.462 0.843 0.958; 0.245 0.245 0.245
#   LSTM, peepholes: 0.174 0.501 0.77; 0.192 0.615 0.908
#   LSTM, HardSigmoid Relu Relu: 0.125 1.48 18.3; 0.18 0.717 2.17
#   GRU, HardSigmoid Relu: 0.25 0.139 -0.698; 0.2 0.444 0.638
#   GRU, HardSigmoid Tanh: 0.231 0.164 -0.279; 0.185 0.355 0.449
#   GRU, Sigmoid Relu: 0.189 0.41 0.604; 0.189 0.41 0.604
#   AveragePool: 1 0.5; 1 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  iree-base-compiler==3.13.0 iree-base-runtime==3.13.0 mpmath==1.3.0 sympy==1.14.0 \
  onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  onnxruntime==1.32.0 flatbuffers==25.12.19 packaging==26.4
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import iree.compiler
import iree.runtime
import numpy as np
import onnx
import onnxruntime
from iree.compiler.tools.import_onnx.__main__ import main, parse_arguments
from onnx import TensorProto, helper, numpy_helper

HALF = {"RNN": 1, "GRU": 3, "LSTM": 4}


def model(kind, x, shape, inputs, options):
    """Return a model of one layer; inputs are constants, None for one left out."""
    names = ["" if value is None else f"c{i}" for i, value in enumerate(inputs)]
    pairs = [(v, name) for v, name in zip(inputs, names, strict=True) if name]
    tensors = [numpy_helper.from_array(*pair) for pair in pairs]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    node = helper.make_node(kind, ["x", *names], ["y"], **options)
    graph = helper.make_graph([node], "net", [source], [result], tensors)
    versions = [helper.make_opsetid("", 17)]
    net = helper.make_model(graph, opset_imports=versions, ir_version=8)
    onnx.checker.check_model(net)
    onnx.save(net, "net.onnx")


def told(values):
    return " ".join(f"{value:.3g}" for value in np.ravel(values))


def compiled(x):
    """Return what the program computes that IREE makes of the model."""
    if main(parse_arguments(["net.onnx", "-o", "net.mlir"])):
        sys.exit("not imported")
    program = iree.compiler.compile_file(
        "net.mlir",
        target_backends=["llvm-cpu"],
        input_type="onnx",
        extra_args=["--iree-llvmcpu-target-cpu=generic"],
    )
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    module = iree.runtime.VmModule.copy_buffer(context.instance, program)
    context.add_vm_module(module)
    return context.modules.module["net"](x).to_host()


def run(name, kind, x, shape, *inputs, **options):
    """Return a line of what IREE computes, and ONNX Runtime."""
    x = np.float32(x)
    model(kind, x, shape, inputs, options)
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession("net.onnx", providers=providers)
    return f"{name}: {told(compiled(x))}; {told(session.run(None, {'x': x})[0])}"


def recurrent(name, kind, *inputs, **options):
    weights = np.full((1, HALF[kind], 1), 0.5, np.float32)
    x = [[[1]], [[2]], [[3]]]
    inputs = weights, weights, *inputs
    return run(name, kind, x, (3, 1, 1, 1), *inputs, hidden_size=1, **options)


lengths = None, np.int32([2])
ones = np.ones((1, 3), np.float32)
gates = ["HardSigmoid", "Relu", "Relu"]
pool = {"kernel_shape": [1, 2], "strides": [1, 2], "ceil_mode": 1}
counted = {**pool, "count_include_pad": 1}
found = [
    recurrent("RNN", "RNN"),
    recurrent("RNN of 2 steps", "RNN", *lengths),
    recurrent("GRU of 2 steps", "GRU", *lengths),
    recurrent("LSTM of 2 steps", "LSTM", *lengths),
    recurrent("RNN, clip 0.25", "RNN", clip=0.25),
    recurrent("LSTM, peepholes", "LSTM", *[None] * 4, ones),
    recurrent("LSTM, HardSigmoid Relu Relu", "LSTM", activations=gates),
    recurrent("GRU, HardSigmoid Relu", "GRU", activations=gates[:2]),
    recurrent("GRU, HardSigmoid Tanh", "GRU", activations=["HardSigmoid", "Tanh"]),
    recurrent("GRU, Sigmoid Relu", "GRU", activations=["Sigmoid", "Relu"]),
    run("AveragePool", "AveragePool", [[[[1, 1, 1]]]], (1, 1, 1, 2), **counted),
]
print(*found, sep="\n")
SEEN = """
RNN: 0.462 0.843 0.958; 0.462 0.843 0.958
RNN of 2 steps: 0.462 0.843 0.958; 0.462 0.843 0
GRU of 2 steps: 0.174 0.329 0.424; 0.174 0.329 0
LSTM of 2 steps: 0.174 0.501 0.77; 0.174 0.501 0
RNN, clip 0.25: 0.462 0.843 0.958; 0.245 0.245 0.245
LSTM, peepholes: 0.174 0.501 0.77; 0.192 0.615 0.908
LSTM, HardSigmoid Relu Relu: 0.125 1.48 18.3; 0.18 0.717 2.17
GRU, HardSigmoid Relu: 0.25 0.139 -0.698; 0.2 0.444 0.638
GRU, HardSigmoid Tanh: 0.231 0.164 -0.279; 0.185 0.355 0.449
GRU, Sigmoid Relu: 0.189 0.41 0.604; 0.189 0.41 0.604
AveragePool: 1 0.5; 1 1
"""
if found != SEEN.strip().splitlines():
    sys.exit("changed")
PYTHON
