#!/bin/sh
# protobuf finds NaN equal to itself in a message, and 0 unlike -0 where it repeats.
#
# Versions: protobuf 7.36.2 (upb, and its Python implementation), onnx 1.23.2 for a
# message of floats.
# Expected: messages are equal if their fields are, as Python's floats are: 0 == -0, and
# NaN is unlike NaN; a list of floats compares as its message does; and the two
# implementations agree.
# Happens: upb, the usual one, compares a repeated float by its bits: messages that
# differ in the sign of a zero only, as weights do from one machine to another, are
# unlike, though their lists are equal. NaN of the same bits is equal in a message, and
# not in its list. A single 0 and -0, without presence, are unlike in both: 0 is absent.
# Remedy: np.array_equal of the values.
# Seen (message, its list, a message with a single float; of upb; of Python):
#   0 and -0: False True False; True True False
#   NaN and NaN: True False True; False False False
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  protobuf==7.36.2 onnx==1.23.2 numpy==2.4.6 ml-dtypes==0.6.0 typing-extensions==4.16.0
cat > "$folder/equal.py" <<'PYTHON'
from google.protobuf.internal import api_implementation
from google.protobuf.wrappers_pb2 import FloatValue
from onnx import TensorProto

print(api_implementation.Type())
for one, other in ((0.0, -0.0), (float("nan"), float("nan"))):
    tensors = [TensorProto(float_data=[value]) for value in (one, other)]
    single = [FloatValue(value=value) for value in (one, other)]
    lists = [tensor.float_data for tensor in tensors]
    print(*(left == right for left, right in (tensors, lists, single)))
PYTHON
for kind in upb python; do
  PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=$kind \
    "$folder/venv/bin/python" "$folder/equal.py" > "$folder/$kind"
done
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

lines = [Path(sys.argv[1], kind).read_text().splitlines() for kind in ("upb", "python")]
if [kind for kind, *_ in lines] != ["upb", "python"]:
    sys.exit("not seen: an implementation is missing")
pairs = zip(("0 and -0", "NaN and NaN"), lines[0][1:], lines[1][1:], strict=True)
found = [f"{what}: {upb}; {python}" for what, upb, python in pairs]
print(*found, sep="\n")
if found != [
    "0 and -0: False True False; True True False",
    "NaN and NaN: True False True; False False False",
]:
    sys.exit("changed")
PYTHON
