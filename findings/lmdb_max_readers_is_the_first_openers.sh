#!/bin/sh
# lmdb.open(max_readers=1000) has as many as whoever opened the database first asked for.
#
# Versions: lmdb 3.0.0 (its wheel, LMDB 0.9.36).
# Expected: max_readers raises the limit for the process that gives it; or an error says
# that it cannot.
# Happens: the table of readers gets its size from a process that opens the database while
# nobody else has it open. Those that come later get that size; theirs is ignored, and
# nothing says so. A viewer that was opened before the job, with the default of 126, gives
# a job of 200 ranks ReadersFullError, though each asked for 1000. The table never gets
# smaller again, either.
# Remedy: info()["max_readers"] after opening; the same max_readers in all programs.
# Seen (a process has it open with the default; then one that asks for 1000):
#   it has 126: ReadersFullError at transaction 127
#   alone: it has 1000; then one that asks for 3: it has 1000
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  lmdb==3.0.0
cd "$folder"
timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys

import lmdb

FIRST = """
import lmdb
with lmdb.open("data", readonly=True):
    print("open", flush=True)
    input()
"""


def told(wanted):
    """Open the database, and begin up to 200 transactions."""
    with lmdb.open("data", readonly=True, max_readers=wanted) as database:
        said = f"it has {database.info()['max_readers']}"
        begun = []
        try:
            for _ in range(200):
                begun.append(database.begin())
        except lmdb.Error as error:
            said += f": {type(error).__name__} at transaction {len(begun) + 1}"
        for transaction in begun:
            transaction.abort()
    return said


lmdb.open("data").close()
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
with subprocess.Popen([sys.executable, "-c", FIRST], **pipes) as first:
    first.stdout.readline()
    beside = told(1000)
    first.communicate("\n")
alone, less = told(1000), told(3)
print(beside, f"alone: {alone}; then one that asks for 3: {less}", sep="\n")
if (beside, alone, less) != (
    "it has 126: ReadersFullError at transaction 127",
    "it has 1000",
    "it has 1000",
):
    sys.exit("changed")
PYTHON
