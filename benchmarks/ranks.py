"""A job of ranks that are timed in bursts, one job after the other, in turns.

As a program (`python benchmarks/ranks.py NET BATCH`, alone or under `mpiexec`) it makes
the net, and then does what the lines of its standard input say: how to go, and for how
many seconds. Between bursts it sleeps. Each burst is answered by a line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WAYS = ("none", "after", "beside", "sums", "forward")
END = "end"
LEAST_STEPS = 2


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
            command = [shutil.which("mpiexec") or "mpiexec", "-n", str(ranks)]
        self._process = subprocess.Popen(
            [*command, sys.executable, __file__, net, str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own, **(environment or {})},
        )
        self.facts = self._answer()  # once all ranks have compiled and warmed up

    def burst(self, way: str, seconds: float) -> dict[str, Any]:
        """Run one way for some seconds; return medians of a step and of its wait.

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
        from runtime.training.data_parallel import DataParallel

        self.world = runtime.distributed.world()
        self.solver = make_solver(nets.train_net(net, batch), "numpy")
        self.net = self.solver.net
        flat = self.net.parameters.flat
        self.bytes = flat.unlearned * flat.diff.dtype.itemsize
        self.sending: dict[str, Timed] = {}
        if self.world.size > 1:
            self.together = DataParallel(self.net, self.world)
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

    def burst(self, way: str, seconds: float) -> dict[str, Any]:
        """Run steps until the time is over on rank 0; return medians over all ranks."""
        for one in self.sending.values():
            one.waits.clear()
        self.world.barrier()
        self.run(way)
        steps: list[float] = []
        begun, cpu = time.perf_counter(), time.process_time()
        going = True
        while going:
            started = time.perf_counter()
            self.run(way)
            steps.append(time.perf_counter() - started)
            going = self.world.broadcast(
                time.perf_counter() - begun < seconds or len(steps) < LEAST_STEPS
            )
        cpu = (time.process_time() - cpu) / len(steps)
        waits = self.sending[way].waits[1:] if way in self.sending else [0.0]
        told = self.world.gather(
            [statistics.median(steps), statistics.median(waits), cpu]
        )
        mine = [max(column) for column in zip(*told, strict=True)]
        keys = ("step", "wait", "cpu")
        return {**dict(zip(keys, mine, strict=True)), "steps": len(steps)}


def main() -> None:
    """Be a rank of a job."""
    rank = Rank(sys.argv[1], int(sys.argv[2]))
    first = rank.world.rank == 0

    def tell(value: Mapping[str, Any]) -> None:
        if first:
            print(json.dumps(value), flush=True)

    tell(rank.facts())
    while True:
        order = sys.stdin.readline() if first else ""
        way, seconds = rank.world.broadcast(order).split()
        if way == END:
            break
        tell(rank.burst(way, float(seconds)))
    rank.world.barrier()


if __name__ == "__main__":
    main()
