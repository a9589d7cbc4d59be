#!/bin/sh
# onnx_ir makes a FLOAT tensor of [1.5] and a DOUBLE one of [1.5, 2].
#
# Versions: onnx-ir 1.1.0, onnx 1.23.2, NumPy 2.4.6.
# Expected: numbers of Python with a fraction become FLOAT, alone as in a list, and a
# whole number among them too, as in NumPy and torch, where [1.5] and [1.5, 2] are of
# one type.
# Happens: only if all of a list are floats the tensor is FLOAT. One int among them, and
# NumPy's own choice is taken, a DOUBLE, which no Add with a FLOAT takes: the model is
# refused later, at another node. As an attribute of a node the same list is refused at
# once, where onnx.helper makes FLOATS of it.
# Remedy: give the type, ir.tensor(values, dtype=ir.DataType.FLOAT).
# Seen:
#   1.5 FLOAT, [1.5] FLOAT, [1.5, 2.0] FLOAT, [1.5, 2] DOUBLE
#   as an attribute: [1.5, 2] TypeError; of onnx.helper FLOATS
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  onnx-ir==1.1.0 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2 ml-dtypes==0.6.0 typing-extensions==4.16.0 \
  packaging==26.4 sympy==1.14.0 mpmath==1.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import onnx
import onnx_ir as ir
from onnx import helper

values = [1.5, [1.5], [1.5, 2.0], [1.5, 2]]
found = [ir.tensor(value).dtype.name for value in values]
print(", ".join(f"{v} {kind}" for v, kind in zip(values, found, strict=True)))
try:
    node = ir.node("Any", [], attributes={"list": [1.5, 2]})
    attribute = node.attributes["list"].type.name
except TypeError as error:
    attribute = type(error).__name__
made = onnx.AttributeProto.AttributeType.Name(helper.make_attribute("a", [1.5, 2]).type)
print(f"as an attribute: [1.5, 2] {attribute}; of onnx.helper {made}")
if (*found, attribute, made) != (
    *("FLOAT", "FLOAT", "FLOAT", "DOUBLE"),
    *("TypeError", "FLOATS"),
):
    sys.exit("changed")
PYTHON
