#!/bin/sh
# OpenVINO computes a float32 model in bfloat16, without being asked, on some processors.
#
# Versions: OpenVINO 2026.4.1, NumPy 2.4.6, Python 3.11; an AMD EPYC (Zen 4), which has
# bfloat16 instructions. Without them it computes in float32, and this script says so.
# Expected: a model whose inputs, weights and outputs are float32 is computed in float32.
# Happens, and nothing warns: the CPU plugin's INFERENCE_PRECISION_HINT is bfloat16 by
# default, so that a matrix product of 512 terms has three digits. Comparisons of speed
# with engines that compute in float32 compare different work.
# Remedy: compile_model(..., {"INFERENCE_PRECISION_HINT": "f32"}).
# Seen:
#   default: <Type: 'bfloat16'>, error above 1e-3 of the largest value
#   asked for f32: <Type: 'float32'>, error below 1e-5
set -eu
if ! grep -q avx512_bf16 /proc/cpuinfo 2>/dev/null; then
  echo "this processor has no bfloat16 instructions: nothing to be seen here"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  openvino==2026.4.1 openvino-telemetry==2025.2.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import openvino as ov
from openvino import opset13 as op

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 512)).astype(np.float32)
w = rng.normal(size=(512, 64)).astype(np.float32)
given = op.parameter([64, 512], np.float32)
model = ov.Model([op.matmul(given, op.constant(w), False, False)], [given])
exact = x.astype(float) @ w.astype(float)
errors = {}
for name, settings in (("default", {}), ("asked for f32", {"INFERENCE_PRECISION_HINT": "f32"})):
    compiled = ov.Core().compile_model(model, "CPU", settings)
    kind = compiled.get_property("INFERENCE_PRECISION_HINT")
    y = next(iter(compiled([x]).values()))
    errors[name] = float(np.abs(y - exact).max() / np.abs(exact).max())
    print(f"{name}: {kind}, error {errors[name]:.1e} of the largest value")
seen = errors["default"] > 1e-3 and errors["asked for f32"] < 1e-5
sys.exit(0 if seen else "another behaviour than the one above")
PYTHON
