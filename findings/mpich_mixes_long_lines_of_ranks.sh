#!/bin/sh
# mpiexec of MPICH mixes lines of ranks into each other where they are above 64 KiB.
#
# Versions: mpich 5.0.2 (its wheel); two processes on one host.
# Expected: a launcher that carries what ranks print keeps lines whole, as Open MPI 5.0.11
# does with these, and as each line of JSON must be that ranks write as one.
# Happens: it hands on what it has read of a rank, at most what a pipe holds, 64 KiB, and
# then the next rank's. A line of one write that is longer goes on within another rank's. -l
# puts the rank before lines, not before pieces. Also shorter lines are mixed where a rank
# writes text and end of line apart, as print does with PYTHONUNBUFFERED=1.
# Remedy: a file for each rank (-outfile-pattern 'log.%r'); one rank that prints.
# Seen (100 lines of each rank that have 200 000 characters, and 1000; how many are mixed
# differs):
#   lines of 200000: 200, some of them mixed
#   lines of 1000: 200, none of them mixed
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  mpich==5.0.2
cat > "$folder/rank.py" <<'PYTHON'
import os
import pathlib
import sys
import time

rank = int(os.environ["PMI_RANK"])
pathlib.Path(f"{sys.argv[1]}.{rank}").touch()
while not os.path.exists(f"{sys.argv[1]}.{1 - rank}"):
    time.sleep(0.001)  # so that both write at the same time
line = (os.environ["PMI_RANK"] * int(sys.argv[1]) + "\n").encode()
for _ in range(100):
    rest = line
    while rest:
        rest = rest[os.write(1, rest) :]
PYTHON
cd "$folder"
for size in 200000 1000; do
  timeout 60 venv/bin/mpiexec -n 2 venv/bin/python rank.py $size > out < /dev/null
  awk -v size=$size '
    !/^(0+|1+)$/ || length($0) != size { mixed++ }
    END { print "lines of " size ": " NR ", " (mixed ? "some" : "none") " of them mixed" }
  ' out
done > found
cat found
[ "$(cat found)" = "lines of 200000: 200, some of them mixed
lines of 1000: 200, none of them mixed" ] || { echo changed >&2; exit 1; }
