#!/bin/sh
# h5py.File(name, "w") fails on a file that another process has open, and empties it.
#
# Versions: h5py 3.16.0 (its wheel, HDF5 2.0.0); a local file system, locks as by default.
# Expected: "unable to lock file" means that nothing was done to it; modes "a" and "r+"
# fail so, and leave it as it was.
# Happens: the file is cut to no bytes as it is opened, and then the lock is asked for. The
# error is the same as with the other modes, but all data are gone, and what the other
# process reads next is an error: it has the first bytes only that it read before.
# So a second job under the same name destroys what the first one writes or reads, and says
# that it could not.
# Remedy: write under another name and os.replace; or open with "a" before, or "x".
# Seen (a file of 1000 numbers that another process has open for reading):
#   10048 bytes; a: BlockingIOError, 10048 bytes; r+: BlockingIOError, 10048 bytes;
#   w: BlockingIOError, 0 bytes; the reader: KeyError; opened again: OSError
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  h5py==3.16.0 numpy==2.4.6
cd "$folder"
unset HDF5_USE_FILE_LOCKING
timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys

import h5py

READER = """
import h5py
with h5py.File("data.h5", "r") as file:
    print("open", flush=True)
    input()
    try:
        file["x"][:]
    except Exception as error:
        print(type(error).__name__)
    else:
        print("reads")
"""


def told(mode):
    """Open the file; return what happens, and its size afterwards."""
    try:
        h5py.File("data.h5", mode).close()
    except OSError as error:
        what = type(error).__name__
    else:
        what = "opens"
    return f"{mode}: {what}, {os.path.getsize('data.h5')} bytes"


with h5py.File("data.h5", "w") as file:
    file["x"] = list(range(1000))
size = os.path.getsize("data.h5")
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
with subprocess.Popen([sys.executable, "-c", READER], **pipes) as reader:
    reader.stdout.readline()
    found = [told("a"), told("r+"), told("w")]
    reads = reader.communicate("\n")[0].strip()
try:
    h5py.File("data.h5", "r")
except OSError as error:
    again = type(error).__name__
else:
    again = "opens"
print(f"{size} bytes; {'; '.join(found)}; the reader: {reads}; opened again: {again}")
if found != [
    f"a: BlockingIOError, {size} bytes",
    f"r+: BlockingIOError, {size} bytes",
    "w: BlockingIOError, 0 bytes",
] or (reads, again) != ("KeyError", "OSError"):
    sys.exit("changed")
PYTHON
