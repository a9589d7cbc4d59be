#!/bin/sh
# cuDNN's front end imports without cuDNN, and without the packages that it requires.
#
# Versions: nvidia-cudnn-frontend 1.32.0.
# Expected: what a package requires it needs, here nvidia-cutlass-dsl, which brings
# more, and apache-tvm-ffi; and `import cudnn` fails where there is no cuDNN, so that
# trying it tells whether it is there.
# Happens: installed alone, with `pip install --no-deps`, it imports. Only its first
# call of cuDNN fails, with a RuntimeError about a symbol that names neither the library
# nor the package to install. With nvidia-cudnn-cu13 and nvidia-cublas beside it, and
# none of what it requires, graphs are made and planned, as other scripts here do.
# Seen:
#   requires apache-tvm-ffi, nvidia-cutlass-dsl; installed: neither
#   imported 1.32.0
#   backend_version(): RuntimeError: Unable to find symbol cudnnGetVersion
# Needs a machine on which the loader does not find cuDNN.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  nvidia-cudnn-frontend==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import re
import sys
from importlib import metadata

required = sorted(
    re.match(r"[\w-]+", line)[0]
    for line in metadata.requires("nvidia-cudnn-frontend")
    if "extra ==" not in line
)
names = {one.metadata["Name"].lower() for one in metadata.distributions()}
there = [name for name in required if name in names]
print(f"requires {', '.join(required)}; installed: {', '.join(there) or 'neither'}")

import cudnn

print(f"imported {cudnn.__version__}")
try:
    sys.exit(f"cannot be seen here: cuDNN {cudnn.backend_version()} is installed")
except Exception as error:
    kind, text = type(error), str(error)
print(f"backend_version(): {kind.__name__}: {text}")
if (
    required != ["apache-tvm-ffi", "nvidia-cutlass-dsl"]
    or there
    or kind is not RuntimeError
    or "cudnnGetVersion" not in text
):
    sys.exit("changed")
PYTHON
