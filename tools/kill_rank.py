"""Kill ranks of a training at random moments, go on from its last state, and compare.

    python -m tools.kill_rank [--kills N] [--ranks N] [--seed N]

`mpiexec -n N python -m runtime train` loses one of its ranks by SIGKILL, half of the
time at a random moment, half of the time while a snapshot is written. The job must end
within 10 seconds with a status that is not 0, and is started again from the newest
state. After the last kill it trains for some more iterations. All models and states
must be those of a run that nobody disturbed, bit for bit. The exit status is 1 where
that does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools.kill_training import NET, ROOT, newest

SOON_S = 10.0  # in which a job must end
PATIENCE_S = 300.0
SOLVER = """
net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 iter_size: 2
max_iter: 1000000 snapshot: 20 snapshot_prefix: "s" random_seed: 3
"""
WITHIN_S = 5.0  # in which a kill within a snapshot is tried; the more files, the harder
MORE = 60  # iterations after the last kill


def write_files(folder: Path) -> None:
    """Write a net, and a solver that trains it until somebody ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)


def start(folder: Path, ranks: int, *more: object) -> subprocess.Popen[bytes]:
    """Start training, from the newest state if there is one, with more options."""
    path = os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=path)
    if mpiexec is None:
        raise SystemExit("there is no mpiexec: pip install 'netspec[mpi]'")
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "runtime", "train"]
    command += ["--no-progress", "--solver", "solver.prototxt"]
    command += map(str, more)
    if (state := newest(folder)) is not None:
        command += ["--snapshot", state.name]
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def ranks_of(launcher: int) -> dict[int, int]:
    """Return the numbers of the processes of all ranks, by rank."""
    found: dict[int, int] = {}
    for process in _below(launcher):
        try:
            words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        except OSError:  # it ended
            continue
        ranks = [word[9:] for word in words if word.startswith(b"PMI_RANK=")]
        if ranks:
            found.setdefault(int(ranks[0]), process)
    return found


def _below(process: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return
    numbers = [int(word) for word in children.split()]
    yield from numbers
    for number in numbers:
        yield from _below(number)


def kill_one(folder: Path, ranks: int, rng: random.Random) -> tuple[bool, float]:
    """Start training and kill a rank.

    Returns whether it was within a snapshot, and the seconds until the job had ended.
    """
    before = newest(folder)
    process = start(folder, ranks)
    within = rng.random() < 0.5
    deadline = time.monotonic() + PATIENCE_S
    # A kill before the first snapshot leaves nothing to compare.
    while newest(folder) == before and process.poll() is None:
        if time.monotonic() > deadline:
            raise AssertionError("no snapshot appears")
        time.sleep(0.001)
    victims = ranks_of(process.pid)
    time.sleep(rng.uniform(0, 0.2))
    given_up = time.monotonic() + (WITHIN_S if within else 0)
    while process.poll() is None and time.monotonic() < given_up:
        if any(folder.glob(".s_iter_*")):
            break
    cut = any(folder.glob(".s_iter_*"))
    if process.poll() is not None:
        raise AssertionError(f"the job ended by itself, with {process.returncode}")
    os.kill(victims[rng.randrange(ranks)], signal.SIGKILL)
    killed = time.monotonic()
    if process.wait(PATIENCE_S) == 0:
        raise AssertionError("the job ended with status 0")
    return cut, time.monotonic() - killed


def last_of(folder: Path) -> int:
    """Return the iterations of the newest state, 0 without one."""
    state = newest(folder)
    return 0 if state is None else int(state.name[7:].split(".")[0])


def finish(folder: Path, ranks: int, last: int) -> None:
    """Train to the end of so many iterations."""
    status = start(folder, ranks, "--max-iter", last).wait(PATIENCE_S)
    if status != 0:
        raise AssertionError(f"training ended with status {status}")


def results(folder: Path) -> dict[str, bytes]:
    """Return the models and states of a run, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("s_iter_*")}


def main() -> int:
    """Kill, compare and count."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, ranks = random.Random(options.seed), options.ranks
    with tempfile.TemporaryDirectory() as name:
        killed, whole = Path(name, "killed"), Path(name, "whole")
        for folder in (killed, whole):
            write_files(folder)
        ends = [kill_one(killed, ranks, rng) for _ in range(options.kills)]
        last = last_of(killed) + MORE
        finish(killed, ranks, last)
        finish(whole, ranks, last)
        same = results(killed) == results(whole)
    slowest = max(seconds for _, seconds in ends)
    print(f"kills: {len(ends)}, within a snapshot: {sum(cut for cut, _ in ends)}")
    print(f"longest time to the end of the job: {slowest:.1f} s")
    print(f"models and states equal bit for bit: {'yes' if same else 'NO'}")
    return 0 if same and slowest <= SOON_S else 1


if __name__ == "__main__":
    sys.exit(main())
