"""What a second thread brings beside a busy process: `python benchmarks/under_load.py`.

GoogLeNet's inference at batch 1 and a training step of LeNet, on one thread and on as
many as there are processors, taking turns; first with nothing beside them, then beside
processes that are always busy, and beside one that is so for a fourth of the time.
Medians with quartiles, their ratio, and the processor time of a step.

The row "apart" tells what the system leaves to be had: the work of so many threads that
have nothing to do with each other, over that of one, under the same load.

    python benchmarks/under_load.py [NET:BATCH[:train] ...] [--busy N] [--seconds S]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nets
from compare import solver_of
from values import SEED, fill_inputs

import runtime

SIDES = ["googlenet:1", "lenet:64:train"]
BURST_SECONDS = 0.4
APART_SECONDS = 1.5
PAUSE_SECONDS = 0.05  # lets the threads of the side before go to sleep

# A process that is busy for so many seconds, and then sleeps for so many, for ever.
BUSY = """
import sys, time
busy, asleep = float(sys.argv[1]), float(sys.argv[2])
while True:
    end = time.perf_counter() + busy
    while time.perf_counter() < end:
        pass
    time.sleep(asleep)
"""
# One that tells how many rounds of some work it did in so many seconds.
WORK = """
import hashlib, sys, time
data, rounds, end = bytes(100_000), 0, time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < end:
    hashlib.sha256(data).digest()
    rounds += 1
print(rounds)
"""
# One that runs steps of a net whenever it is told for how many seconds.
SIDE = """
import sys, time
import under_load
step = under_load.step_of(sys.argv[1])
for _ in range(3):
    step()
print("ready", flush=True)
for line in sys.stdin:
    print(*under_load.burst(step, float(line)), flush=True)
"""


def step_of(side: str) -> Callable[[], Any]:
    """Return what one step of NET:BATCH or NET:BATCH:train is."""
    name, batch, *train = side.split(":")
    if train:
        solver = solver_of(nets.train_net(name, int(batch)))
        return lambda: solver.step(1)
    net = runtime.Net(
        nets.deploy_net(name, int(batch)), runtime.TEST, keep=(), seed=SEED
    )
    fill_inputs(net)
    return net.forward


def burst(step: Callable[[], Any], seconds: float) -> list[float]:
    """Run steps for some time; returns the processor time of one, and their times."""
    step()
    times: list[float] = []
    used, end = time.process_time(), time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return [(time.process_time() - used) / len(times), *times]


@contextmanager
def load(busy: int, seconds: float, asleep: float) -> Iterator[None]:
    """Have so many processes beside this one."""
    code = [sys.executable, "-c", BUSY, str(seconds), str(asleep)]
    processes = [subprocess.Popen(code) for _ in range(busy)]
    try:
        yield
    finally:
        for one in processes:
            one.kill()
            one.wait()


def apart(threads: int) -> float:
    """Return how much more several processes do that wait for nobody, than one does."""
    code = [sys.executable, "-c", WORK, str(APART_SECONDS)]
    totals = []
    for count in (1, threads):
        processes = [
            subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        totals.append(sum(int(one.communicate()[0]) for one in processes))
    return totals[1] / totals[0]


class Side:
    """A process that runs steps on a number of threads."""

    def __init__(self, side: str, threads: int) -> None:
        here = str(Path(__file__).resolve().parent)
        path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {"NETSPEC_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SIDE, side],
            env={**os.environ, **variables, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asked: Any = self._process.stdin
        self._told: Any = self._process.stdout
        self.times: list[float] = []
        self.used: list[float] = []

    def _answer(self) -> str:
        answer: str = self._told.readline()
        if not answer:
            raise SystemExit("a process that runs steps has ended")
        return answer

    def wait(self) -> None:
        """Wait until it is ready."""
        self._answer()

    def take_turn(self) -> None:
        """Run steps for a while."""
        print(BURST_SECONDS, file=self._asked, flush=True)
        used, *times = map(float, self._answer().split())
        self.used.append(used)
        self.times += times
        time.sleep(PAUSE_SECONDS)

    def end(self) -> None:
        """Let the process end."""
        self._process.kill()
        self._process.wait()


def measure(
    side: str, threads: int, seconds: float, loads: Sequence[tuple[str, Any]]
) -> None:
    """Print what one thread and several take, under each load."""
    sides = [Side(side, number) for number in (1, threads)]
    try:
        for one in sides:
            one.wait()
        for title, given in loads:
            for one in sides:
                one.times, one.used = [], []
            with load(*given):
                end = time.perf_counter() + seconds
                while time.perf_counter() < end:
                    for one in sides:
                        one.take_turn()
            show(side, title, threads, sides)
    finally:
        for one in sides:
            one.end()


def show(side: str, title: str, threads: int, sides: Sequence[Side]) -> None:
    """Print a row."""
    cells = []
    for one in sides:
        low, middle, high = (1e3 * x for x in statistics.quantiles(one.times, n=4))
        used = 1e3 * statistics.median(one.used)
        cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f}; CPU {used:.2f})")
    medians = [statistics.median(one.times) for one in sides]
    means = [statistics.mean(one.times) for one in sides]
    gain = f"{medians[0] / medians[1]:.2f} (means {means[0] / means[1]:.2f})"
    print(f"| {side} | {title} | {' | '.join(cells)} | {gain} |", flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sides", nargs="*", default=SIDES, metavar="NET:BATCH[:train]")
    parser.add_argument("--busy", type=int, default=1, help="busy processes")
    parser.add_argument("--seconds", type=float, default=8, help="of each row")
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    busy = arguments.busy
    loads = [
        ("nothing", (0, 0.0, 0.0)),
        (f"{busy} busy", (busy, 1.0, 0.0)),
        (f"{busy} busy a fourth of the time", (busy, 0.01, 0.03)),
    ]
    print(
        f"| milliseconds | beside it | 1 thread | {threads} threads | gain |\n"
        "| --- | --- | ---: | ---: | ---: |"
    )
    for title, given in loads:
        with load(*given):
            print(f"| apart | {title} | | | {apart(threads):.2f} |", flush=True)
    for side in arguments.sides:
        measure(side, threads, arguments.seconds, loads)


if __name__ == "__main__":
    main()
