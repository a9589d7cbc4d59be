#!/bin/sh
# Allreduce with MAX gives ranks different results where one of them has NaN.
#
# Versions: mpich 5.0.2 (its wheel), mpi4py 4.1.2, NumPy 2.4.6; two ranks on one host.
# Expected: an all-reduce is one result that appears on all ranks; NaN wins, as in
# np.maximum, or loses. "If the largest loss is not finite, stop" is decided by all.
# Happens: each rank compares with its own value on one side, and a comparison with NaN
# is false: the rank that has the NaN has the number, the other has NaN. They decide
# otherwise, and one waits for the other. With more values each rank does a part, and all
# agree; but for one half of the values NaN wins, and for the other it loses. MIN is the
# same. Open MPI 5.0.11 agrees between ranks, and loses NaN by place too.
# Remedy: SUM, which NaN always passes; or isfinite before, as an integer, by MIN.
# Seen (NaN on rank 0, 1 on rank 1; results of rank 0, of rank 1):
#   MAX of one value: 1; nan
#   MAX of four values: 1 1 nan nan; 1 1 nan nan
#   SUM of one value: nan; nan
#   MIN of one value, isfinite: 0; 0
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
nan = ranks.rank == 0


def told(count, op, kind=np.float32):
    """Return what each rank has after an all-reduce of as many equal values."""
    x = np.full(count, np.nan if nan else 1, np.float32)
    x = x if kind is np.float32 else np.isfinite(x).astype(kind)
    ranks.Allreduce(MPI.IN_PLACE, x, op=op)
    return "; ".join(ranks.allgather(" ".join(f"{value:g}" for value in x)))


found = [
    f"MAX of one value: {told(1, MPI.MAX)}",
    f"MAX of four values: {told(4, MPI.MAX)}",
    f"SUM of one value: {told(1, MPI.SUM)}",
    f"MIN of one value, isfinite: {told(1, MPI.MIN, np.int32)}",
]
if nan:
    print(*found, sep="\n", flush=True)
ranks.Barrier()
if found != [
    "MAX of one value: 1; nan",
    "MAX of four values: 1 1 nan nan; 1 1 nan nan",
    "SUM of one value: nan; nan",
    "MIN of one value, isfinite: 0; 0",
]:
    sys.exit("changed")
PYTHON
"$folder/venv/bin/mpiexec" -n 2 "$folder/venv/bin/python" "$folder/ranks.py"
