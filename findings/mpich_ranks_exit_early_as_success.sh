#!/bin/sh
# A rank that calls os._exit(0) ends a job of MPICH with 0, and the other ranks with it.
#
# Versions: mpich 5.0.2 (its wheel), mpi4py 4.1.2; two ranks on one host.
# Expected: a rank that leaves amid the job is a failure, and mpiexec says so; with Open MPI
# 5.0.11 it does, and ends with 1. Or the others go on. And `python -m mpi4py`, made so that
# nobody waits for a rank that failed, ends the job for every sys.exit.
# Happens: the others are killed at once and without a word, wherever they are, such as amid
# a file; the job ended well, says the status. sys.exit(0) is the other way round: that rank
# waits for the others in its last call, and they for it, for ever, with `-m mpi4py` as well,
# which ends the job for a status that is not 0 only.
# Remedy: Abort(1); a file at the end that says "complete".
# Seen (rank 1 leaves; rank 0 has two seconds to go, and then waits for it in a barrier;
# a job that had not ended after 12 s is ended here):
#   os._exit 0: status 0, rank 0 has not finished
#   sys.exit 0: waits for ever, rank 0 has finished
#   sys.exit 3: status 3, rank 0 has not finished
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  mpich==5.0.2 mpi4py==4.1.2
cat > "$folder/rank.py" <<'PYTHON'
import os
import pathlib
import sys
import time

from mpi4py import MPI

ranks = MPI.COMM_WORLD
ranks.Barrier()
if ranks.rank == 1:
    leave = os._exit if sys.argv[1] == "os._exit" else sys.exit
    leave(int(sys.argv[2]))
time.sleep(2)
pathlib.Path("finished").touch()
ranks.Barrier()
PYTHON
cd "$folder"
told=
for how in 'os._exit 0' 'sys.exit 0' 'sys.exit 3'; do
  rm -f finished
  status=0
  # shellcheck disable=SC2086
  timeout -k 3 12 venv/bin/mpiexec -n 2 venv/bin/python -m mpi4py rank.py $how \
    < /dev/null > said 2>&1 || status=$?
  ended="status $status"
  [ "$status" != 124 ] || ended="waits for ever"
  has="has not"
  [ ! -e finished ] || has=has
  line="$how: $ended, rank 0 $has finished"
  echo "$line"
  if [ "$how $status" = "os._exit 0 0" ]; then
    ! grep . said || { echo "changed: it says so" >&2; exit 1; }
  fi
  told="$told$line;"
done
[ "$told" = "os._exit 0: status 0, rank 0 has not finished;\
sys.exit 0: waits for ever, rank 0 has finished;\
sys.exit 3: status 3, rank 0 has not finished;" ] || { echo changed >&2; exit 1; }
