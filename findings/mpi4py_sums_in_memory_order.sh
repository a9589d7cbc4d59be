#!/bin/sh
# mpi4py adds up arrays in the order of their memory: a transposed one is mixed up.
#
# Versions: mpi4py 4.1.2, mpich 5.0.2 (its wheel), NumPy 2.4.6; two ranks on one host.
# Expected: Allreduce(x.T, y) is the sum of x.T, place by place, as with x.T + x.T; or an
# error, as for x[:, ::2] and for big-endian numbers, which mpi4py refuses.
# Happens: any array without gaps is taken, and its bytes go as they lie. A weight that is
# stored transposed (by asfortranarray, order="F" or .T) gives other values, with
# the right shape and no word. If one rank alone has another layout, ranks have different
# sums. Bcast is alike; allreduce in small letters, which pickles, is right.
# Remedy: np.ascontiguousarray before; check flags.c_contiguous where sums are in place.
# Open MPI 5.0.11 gives the same: it is mpi4py that hands over the memory.
# Seen (x is 0 1 2 / 3 4 5 on both ranks):
#   Allreduce to a new array: 0 6 2 / 8 4 10
#   in place, transposed on rank 0 alone: 0 3 6 / 4 7 10; on rank 1: 0 4 3 / 7 6 10
#   Bcast from it: 0 1 2 / 3 4 5; on rank 1: 0 3 1 / 4 2 5
#   allreduce in small letters: 0 2 4 / 6 8 10
#   with gaps: BufferError
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  mpich==5.0.2 mpi4py==4.1.2 numpy==2.4.6
cat > "$folder/ranks.py" <<'PYTHON'
import sys

import numpy as np
from mpi4py import MPI

ranks = MPI.COMM_WORLD
x = np.arange(6, dtype=np.float32).reshape(2, 3)
turned = np.asfortranarray(x)


def told(array):
    return " / ".join(" ".join(f"{value:g}" for value in row) for row in array)


def everybody(array):
    return "; on rank 1: ".join(ranks.allgather(told(array)))


total = np.empty_like(x)
ranks.Allreduce(turned, total)
found = [f"Allreduce to a new array: {told(total)}"]
mine = (turned if ranks.rank == 0 else x).copy(order="K")
ranks.Allreduce(MPI.IN_PLACE, mine)
found.append(f"in place, transposed on rank 0 alone: {everybody(mine)}")
mine = turned.copy(order="K") if ranks.rank == 0 else np.zeros_like(x)
ranks.Bcast(mine)
found.append(f"Bcast from it: {everybody(mine)}")
found.append(f"allreduce in small letters: {told(ranks.allreduce(turned))}")
try:
    ranks.Allreduce(MPI.IN_PLACE, np.zeros((2, 6), np.float32)[:, ::2])
except BufferError as error:
    found.append(f"with gaps: {type(error).__name__}")
if ranks.rank == 0:
    print(*found, sep="\n", flush=True)
ranks.Barrier()
if found != [
    "Allreduce to a new array: 0 6 2 / 8 4 10",
    "in place, transposed on rank 0 alone: 0 3 6 / 4 7 10; on rank 1: 0 4 3 / 7 6 10",
    "Bcast from it: 0 1 2 / 3 4 5; on rank 1: 0 3 1 / 4 2 5",
    "allreduce in small letters: 0 2 4 / 6 8 10",
    "with gaps: BufferError",
]:
    sys.exit("changed")
PYTHON
timeout 60 "$folder/venv/bin/mpiexec" -n 2 "$folder/venv/bin/python" "$folder/ranks.py"
