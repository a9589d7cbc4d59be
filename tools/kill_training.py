"""Kill training at random moments, go on from its last state, and compare.

    python tools/kill_training.py [--kills N] [--seed N]

`python -m runtime train` is killed with SIGKILL, half of the time at a random moment,
half of the time while it writes a snapshot, and started again from the newest state,
ten times in a run. Then it may end. All models, states and log lines must be those of a
run that nobody disturbed, bit for bit, and nothing else may lie in the folder. The exit
status is 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KILLS_A_RUN = 10
LAST = 4000
PATIENCE_S = 300.0

NET = """
layer { name: "data" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: [8, 3, 9, 9] } shape { dim: 8 }
                           data_filler { type: "gaussian" std: 1.5 }
                           data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 6 kernel_size: 3
                            weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "h" type: "InnerProduct" bottom: "c" top: "h"
        inner_product_param { num_output: 100 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "h" top: "h" }
layer { name: "y" type: "InnerProduct" bottom: "h" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""

COMMON = f"""
net: "net.prototxt" base_lr: 0.001 max_iter: {LAST} snapshot: 40 snapshot_prefix: "s"
test_iter: 2 test_interval: 150
"""
SOLVERS = (
    'lr_policy: "poly" power: 0.9 momentum: 0.9',
    'type: "Adam" lr_policy: "fixed" momentum: 0.9',
    """type: "Nesterov" lr_policy: "multistep" gamma: 0.5 stepvalue: [700, 1900]
    momentum: 0.8 iter_size: 2 clip_gradients: 5""",
    'type: "RMSProp" lr_policy: "step" gamma: 0.9 stepsize: 333',
    'type: "AdaDelta" lr_policy: "sigmoid" gamma: -0.001 stepsize: 2000 momentum: 0.9',
)


def start(folder: Path, state: Path | None) -> subprocess.Popen[bytes]:
    """Start training, from a state if there is one."""
    command = [sys.executable, "-m", "runtime", "train", "--no-progress"]
    command += ["--solver", "solver.prototxt", "--log", "log.csv"]
    if state is not None:
        command += ["--snapshot", state.name]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )


def newest(folder: Path) -> Path | None:
    """Return the state of the most iterations."""
    states = folder.glob("s_iter_*.solverstate*")
    return max(states, key=lambda path: int(path.name[7:].split(".")[0]), default=None)


def kill(folder: Path, rng: random.Random) -> bool:
    """Start training and kill it; say whether it was within a snapshot."""
    before = newest(folder)
    process = start(folder, before)
    within = rng.random() < 0.5
    deadline = time.monotonic() + PATIENCE_S
    # A kill before the first snapshot leaves nothing to compare.
    while newest(folder) == before and process.poll() is None:
        if time.monotonic() > deadline:
            raise AssertionError("no snapshot appears")
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.3))
    while within and process.poll() is None and not any(folder.glob(".s_iter_*")):
        pass
    time.sleep(rng.uniform(0, 0.002) if within else 0)
    process.kill()
    process.wait()
    return any(folder.glob(".s_iter_*"))


def finish(folder: Path) -> None:
    """Train to the end."""
    status = start(folder, newest(folder)).wait(PATIENCE_S)
    if status != 0:
        raise AssertionError(f"training ended with status {status}")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a run; of the log all but the times."""
    files = {}
    for path in folder.iterdir():
        content = path.read_bytes()
        if path.name == "log.csv":
            lines = content.splitlines(keepends=True)
            content = b"".join(line for line in lines if b",seconds," not in line)
        files[path.name] = content
    return files


def check(number: int, kills: int, rng: random.Random) -> tuple[int, list[str]]:
    """Run one solver with kills; return how many hit a snapshot, and what differs."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        quiet, killed = Path(one), Path(other)
        for folder in (quiet, killed):
            (folder / "net.prototxt").write_text(NET)
            options = COMMON + SOLVERS[number % len(SOLVERS)]
            if number % 3 == 2:
                options += " snapshot_format: HDF5"
            (folder / "solver.prototxt").write_text(options)
        finish(quiet)
        hits = sum(kill(killed, rng) for _ in range(kills))
        finish(killed)
        mine, others = contents(quiet), contents(killed)
        names = sorted(mine.keys() | others.keys())
        return hits, [name for name in names if mine.get(name) != others.get(name)]


def main() -> int:
    """Run until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    bad = hits = 0
    runs = -(-options.kills // KILLS_A_RUN)
    for number in range(runs):
        kills = min(KILLS_A_RUN, options.kills - number * KILLS_A_RUN)
        found, differs = check(number, kills, rng)
        hits += found
        bad += bool(differs)
        what = f"differ: {', '.join(differs)}" if differs else "equal"
        print(f"run {number}: {kills} kills, {found} in a snapshot; {what}", flush=True)
    print(
        f"{options.kills} kills, {hits} of them in a snapshot; {runs - bad} of {runs} "
        f"runs equal bit for bit"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
