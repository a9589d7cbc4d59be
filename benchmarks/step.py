"""Time training steps: `python benchmarks/step.py [NET.prototxt ...] [--backend NAME]`.

One step is `solver.step(1)`: SGD with base_lr 0.0001, momentum 0.9 and weight_decay
0.0005, on normal random data and labels from 0 to 9. Every net runs in a process of its
own, so that peak memory is its own, and is printed beside the speed of a matrix product
in the same process, which tells machines (and their other load) apart.

Without a net the models of this project are timed, at the batch sizes below.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nets
import numpy as np

import runtime
from netspec.errors import NetspecError
from netspec.schema import NetParameter, SolverParameter

WARM_UP_STEPS = 2
MATMUL_SIZE = 2048
MATMUL_REPEATS = 5
SEED = 1
HEADER = (
    f"{'net':<16}{'batch':>6}{'ms/step':>10}{'images/s':>10}{'peak MiB':>10}"
    f"{'matmul GFLOP/s':>16}"
)


def make_solver(
    net: NetParameter, backend: str, communicator: Any = None
) -> runtime.Solver:
    """Return a solver whose inputs are filled.

    communicator: the ranks that train, each with inputs of its own.
    """
    solver = runtime.get_solver(
        SolverParameter(
            net_param=net,
            base_lr=0.0001,
            momentum=0.9,
            weight_decay=0.0005,
            lr_policy="fixed",
            max_iter=10**6,
        ),
        backend=backend,
        seed=SEED,
        communicator=communicator,
    )
    rank = communicator.rank if communicator is not None else 0
    rng = np.random.default_rng(SEED + rank)
    for name in solver.net.inputs:
        blob = solver.net.blobs[name]
        if len(blob.shape) == 4:
            blob.data[...] = rng.normal(size=blob.shape)
        else:
            blob.data[...] = rng.integers(10, size=blob.shape)
    return solver


def time_steps(solver: runtime.Solver, iterations: int) -> list[float]:
    """Return the seconds of each step, after some that warm up."""
    times = []
    for number in range(WARM_UP_STEPS + iterations):
        start = time.perf_counter()
        solver.step(1)
        solver.net.backend.synchronize()
        if number >= WARM_UP_STEPS:
            times.append(time.perf_counter() - start)
    return times


def matmul_gflops(backend: str) -> float:
    """Return the best speed of a float32 matrix product."""
    device = runtime.get_backend(backend)
    a = device.zeros((MATMUL_SIZE, MATMUL_SIZE), "float32") + 1
    out = device.zeros((MATMUL_SIZE, MATMUL_SIZE), "float32")
    best = float("inf")
    for _ in range(MATMUL_REPEATS):
        start = time.perf_counter()
        device.xp.matmul(a, a, out=out)
        device.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * MATMUL_SIZE**3 / best / 1e9


def peak_mib(backend: str) -> float:
    """Return the most memory held: of the process, or of the device's pool."""
    if backend == "cupy":
        pool = runtime.get_backend(backend).xp.get_default_memory_pool()
        return float(pool.total_bytes()) / 2**20
    return nets.peak_mib()


def run_one(name: str, backend: str, iterations: int) -> None:
    """Time one net and print its row."""
    solver = make_solver(nets.train_net(name), backend)
    median = statistics.median(time_steps(solver, iterations))
    batch = solver.net.blobs[solver.net.inputs[0]].shape[0]
    peak = peak_mib(backend)  # before the matrices of the comparison
    print(
        f"{Path(name).stem:<16}{batch:>6}{median * 1000:>10.2f}{batch / median:>10.1f}"
        f"{peak:>10.0f}{matmul_gflops(backend):>16.1f}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Time training steps.")
    parser.add_argument("nets", nargs="*", help="prototxt files; default: the models")
    parser.add_argument("--backend", choices=runtime.BACKENDS, default="numpy")
    parser.add_argument("--iterations", type=int, default=7, help="steps to time")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        try:
            run_one(options.nets[0], options.backend, options.iterations)
        except NetspecError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0
    print(HEADER, flush=True)
    status = 0
    for net in options.nets or [*nets.MODELS, "chain"]:
        command = [sys.executable, __file__, net, "--row", "--backend", options.backend]
        command += ["--iterations", str(options.iterations)]
        status |= subprocess.run(command, check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
