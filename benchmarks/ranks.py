"""A job of ranks that are timed in bursts, one job after the other, in turns.

As a program (`python benchmarks/ranks.py NET BATCH FOLDER`, also under `mpiexec`) it
makes the net, and then does what the lines of its standard input say: how to go, and
for how many seconds. Each burst is answered by a line of JSON. Between bursts it
sleeps: rank 0 in a read, the others between looks for a file, as those that wait in MPI
do not.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MIXED = ("none", "after", "beside")  # taken in turns, step by step
END = "end"
LEAST_STEPS = 2
LOOK_S = 0.02  # between looks for an order


def mpiexec() -> str:
    """Return the `mpiexec` of this environment, or that of the system."""
    own = [str(Path(sys.prefix, "bin")), str(Path(sys.executable).parent)]
    path = os.pathsep.join([*own, os.environ.get("PATH", "")])
    return shutil.which("mpiexec", path=path) or "mpiexec"


class Job:
    """Processes that wait for orders; see `burst`.

    ranks, threads: how many, and threads of each. launcher: what stands ahead of the
    program in place of `mpiexec -n RANKS`.
    """

    def __init__(
        self,
        net: str,
        batch: int,
        ranks: int,
        threads: int = 1,
        *,
        launcher: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        own = {"NETSPEC_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        own |= {"PYTHONPATH": path.rstrip(os.pathsep)}
        command = list(launcher)
        if ranks > 1 and not command:
            command = [mpiexec(), "-n", str(ranks)]
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [*command, sys.executable, __file__, net, str(batch), self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own, **(environment or {})},
        )
        self.facts = self._answer()  # once all ranks have compiled and warmed up

    def burst(self, way: str, seconds: float) -> dict[str, dict[str, float]]:
        """Run one way for some seconds; return medians of a step and of its wait.

        They are by the name of the way. "mixed" is the first three of these in turns:

        "none": no rank asks for another's gradients. "after": gradients are added up
        after backward. "beside": bucket by bucket, as training does. "sums": the sums
        alone, all buckets. "forward": passes forward alone.
        """
        if self._process.stdin is None:
            raise RuntimeError("the job has no standard input")
        self._process.stdin.write(f"{way} {seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("the job has no standard output")
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"a job ended early, with status {self._process.wait()}")

    def end(self) -> None:
        """Let the processes end."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{END} 0\n")
            self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


class Timed:
    """A `Sending` whose waits are timed."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.waits: list[float] = []

    def begin(self) -> None:
        """Begin an iteration."""
        self._inner.begin()

    def ready(self, count: int) -> None:
        """Note that the first `count` arrays are ready."""
        self._inner.ready(count)

    def wait(self) -> None:
        """Wait, and note how long it took."""
        started = time.perf_counter()
        self._inner.wait()
        self.waits.append(time.perf_counter() - started)


class Rank:
    """A rank of a job."""

    def __init__(self, net: str, batch: int) -> None:
        import nets
        from step import make_solver

        import runtime
        from runtime.distributed.sending import SendAfter

        self.world = runtime.distributed.world()
        self.solver = make_solver(nets.train_net(net, batch), "numpy", self.world)
        self.net = self.solver.net
        flat = self.net.parameters.flat
        self.bytes = flat.unlearned * flat.diff.dtype.itemsize
        self.sending: dict[str, Timed] = {}
        together = self.solver._together  # noqa: SLF001
        if together is not None:
            self.together = together
            learned = [flat.diff[: flat.unlearned]]
            self.sending["after"] = Timed(SendAfter(self.world, learned))
            self.sending["beside"] = Timed(self.together.sending)
        self.solver.step(2)

    def facts(self) -> dict[str, Any]:
        """Return what is known of the net."""
        return {"bytes": self.bytes, "ranks": self.world.size}

    def run(self, way: str) -> None:
        """Run one step in a way."""
        net, sending = self.net, self.sending.get(way)
        if way == "forward":
            net.forward_steps()
            return
        if way == "sums":
            self.sending["after"].wait()
            return
        if sending is None:
            net.forward_backward()
        else:
            self.together.sending = sending
            self.together.gradients(net.clock.value, 1)
        self.solver.apply_update()

    def burst(self, way: str, seconds: float) -> dict[str, dict[str, float]]:
        """Run steps for some seconds; return the largest medians of all ranks."""
        ways = MIXED if way == "mixed" else (way,)
        started = time.perf_counter()
        for one in ways:
            self.run(one)
        once = time.perf_counter() - started
        count = self.world.broadcast(max(LEAST_STEPS, int(seconds / once)))
        for sending in self.sending.values():
            sending.waits.clear()
        times: dict[str, list[tuple[float, float]]] = {one: [] for one in ways}
        for _ in range(count):
            for one in ways:
                self.world.barrier()
                started, cpu = time.perf_counter(), time.process_time()
                self.run(one)
                ended = time.perf_counter(), time.process_time()
                times[one].append((ended[0] - started, ended[1] - cpu))
        return {one: self._medians(one, times[one]) for one in ways}

    def _medians(
        self, way: str, times: Sequence[tuple[float, float]]
    ) -> dict[str, float]:
        """Return the largest medians of all ranks."""
        waits = self.sending[way].waits if way in self.sending else [0.0]
        steps, cpus = zip(*times, strict=True)
        told = self.world.gather([statistics.median(x) for x in (steps, waits, cpus)])
        largest = [max(column) for column in zip(*told, strict=True)]
        return dict(zip(("step", "wait", "cpu"), largest, strict=True))


def main() -> None:
    """Be a rank of a job."""
    rank = Rank(sys.argv[1], int(sys.argv[2]))
    first = rank.world.rank == 0

    def tell(value: Mapping[str, Any]) -> None:
        if first:
            print(json.dumps(value), flush=True)

    tell(rank.facts())
    for number in itertools.count():
        asked = Path(sys.argv[3], str(number))
        order = sys.stdin.readline() if first else ""
        if first:
            asked.touch()
        while not asked.exists():
            time.sleep(LOOK_S)
        way, seconds = rank.world.broadcast(order).split()
        if way == END:
            break
        tell(rank.burst(way, float(seconds)))
    rank.world.barrier()


if __name__ == "__main__":
    main()
