#!/bin/sh
# protobuf 7 refuses a float of "017" in a text; protobuf 4 took it for 17.
#
# Versions: protobuf 4.25.8 and 7.36.2 (text_format).
# Expected: a float with a zero before it is the same number in all versions; or, as it
# is for an int, 15, in octal. A text that was read yesterday is read today.
# Happens: 4.25 has 17.0 for a float and 15 for an int32. 7.36 refuses 017, 00 and 017.5
# for a float, and has 15 for an int32 still. The other way, 7.36 takes 1F, with the
# suffix of C, which 4.25 refuses.
# Remedy: write floats without zeros before them, and without a suffix.
# Seen (float: 017, 017.5, 00, 1F; int32: 017):
#   4.25.8: 17.0, 17.5, 0.0, -; 15
#   7.36.2: -, -, -, 1.0; 15
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  --target "$folder/old" protobuf==4.25.8
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  --target "$folder/new" protobuf==7.36.2
cat > "$folder/read.py" <<'PYTHON'
from google import protobuf
from google.protobuf import text_format, wrappers_pb2


def read(kind, number):
    try:
        return str(text_format.Parse(f"value: {number}", kind()).value)
    except text_format.ParseError:
        return "-"


numbers = "017", "017.5", "00", "1F"
floats = ", ".join(read(wrappers_pb2.FloatValue, number) for number in numbers)
print(f"{protobuf.__version__}: {floats}; {read(wrappers_pb2.Int32Value, '017')}")
PYTHON
old=$(PYTHONPATH="$folder/old" "$folder/venv/bin/python" "$folder/read.py")
new=$(PYTHONPATH="$folder/new" "$folder/venv/bin/python" "$folder/read.py")
echo "$old"
echo "$new"
if [ "$old" != "4.25.8: 17.0, 17.5, 0.0, -; 15" ] ||
  [ "$new" != "7.36.2: -, -, -, 1.0; 15" ]; then
  echo "changed" >&2
  exit 1
fi
