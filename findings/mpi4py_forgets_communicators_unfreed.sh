#!/bin/sh
# mpi4py does not free a communicator that Python forgets: after 2046 Dups MPICH has none.
#
# Versions: mpi4py 4.1.2, mpich 5.0.2 (its wheel); two ranks on one host.
# Expected: what nothing refers to is freed, as files and arrays are, so that a function may
# make comm.Dup() or comm.Split() for itself on each call.
# Happens: the number behind the object stays taken until the process ends. MPICH has 2048,
# and then the call raises "Too many communicators"; on all ranks, after hours, if it is one
# for each epoch or each trial. With Open MPI 5.0.11, 2600 went.
# Remedy: comm.Free() on all ranks; one communicator for each purpose, kept.
# Seen:
#   forgotten at once, and gc.collect(): Exception at Dup number 2047, Too many communicators
#   with Free: 2100 are fine
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  mpich==5.0.2 mpi4py==4.1.2
cat > "$folder/rank.py" <<'PYTHON'
import gc
import sys

from mpi4py import MPI

ranks = MPI.COMM_WORLD
REASON = "Too many communicators"


def told(free):
    for number in range(1, 2101):
        try:
            mine = ranks.Dup()
        except MPI.Exception as error:
            reason = REASON if REASON in str(error) else str(error)
            return f"{type(error).__name__} at Dup number {number}, {reason}"
        if free:
            mine.Free()
        elif number % 100 == 0:
            mine = None
            gc.collect()
    return "2100 are fine"


freed, forgotten = told(free=True), told(free=False)
if ranks.rank == 0:
    print(f"forgotten at once, and gc.collect(): {forgotten}")
    print(f"with Free: {freed}", flush=True)
ranks.Barrier()
if not (freed == "2100 are fine" and forgotten.endswith(f" at Dup number 2047, {REASON}")):
    sys.exit("changed")
PYTHON
timeout 120 "$folder/venv/bin/mpiexec" -n 2 "$folder/venv/bin/python" "$folder/rank.py"
