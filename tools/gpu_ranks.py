"""Trains on several GPUs of this machine, and compares with one: needs at least two.

    mpiexec -n 2 python tools/gpu_ranks.py [--iterations N] [--batch N]
    mpiexec -n 2 python tools/gpu_ranks.py --backend numpy    a rehearsal without GPUs

Each rank takes the GPU of its number. What is checked: that ranks meet by NCCL, and not
through the memory of the host; that all hold the same bits after every iteration; that
they hold what one GPU holds with as many times the `iter_size`, within rounding; that
with sync_batch_norm all go on with the same. What is told: the time of an iteration
with and without the other ranks. The exit status is 0 if all passed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import runtime  # noqa: E402
from runtime.backends.cuda.found import count_gpus  # noqa: E402
from runtime.distributed.nccl import OnDevices  # noqa: E402
from runtime.training.ranks.running_statistics import remembered  # noqa: E402

BLOCK = """
layer {{ name: "conv{k}" type: "Convolution" bottom: "{x}" top: "c{k}"
  convolution_param {{ num_output: 64 kernel_size: 3 pad: 1
    weight_filler {{ type: "msra" }} }} }}
layer {{ name: "norm{k}" type: "BatchNorm" bottom: "c{k}" top: "c{k}" }}
layer {{ name: "scale{k}" type: "Scale" bottom: "c{k}" top: "c{k}"
  scale_param {{ bias_term: true }} }}
layer {{ name: "relu{k}" type: "ReLU" bottom: "c{k}" top: "c{k}" }}"""
FIRST = 1e-6  # relative, after one iteration
LATER = 1e-4  # after ten


def net(batch: int) -> str:
    """Return a net with six BatchNorms, on data that is drawn."""
    blocks = "".join(
        BLOCK.format(k=k, x=f"c{k - 1}" if k else "data") for k in range(6)
    )
    return f"""
    layer {{ name: "data" type: "DummyData" top: "data" top: "label"
      dummy_data_param {{ data_filler {{ type: "gaussian" std: 1 }}
        data_filler {{ type: "constant" value: 3 }}
        shape {{ dim: {batch} dim: 3 dim: 64 dim: 64 }} shape {{ dim: {batch} }} }} }}
    {blocks}
    layer {{ name: "ip" type: "InnerProduct" bottom: "c5" top: "ip"
      inner_product_param {{ num_output: 10 weight_filler {{ type: "msra" }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label"
      top: "loss" }}"""


def solver(batch: int, **options: Any) -> runtime.Solver:
    """Return a solver of that net."""
    return runtime.get_solver(
        f"net_param {{ {net(batch)} }}",
        base_lr=0.01,
        momentum=0.9,
        lr_policy="fixed",
        random_seed=5,
        display=0,
        **options,
    )


def learned(one: runtime.Solver) -> np.ndarray:
    """Return all parameters but those that follow the batches."""
    left = remembered(one.net.graph)
    found = []
    for index, parameter in enumerate(one.net.parameters.arrays):
        if index not in left:
            host = np.empty(parameter.data.shape, "float32")
            one.net.backend.download(parameter.data, host)
            found.append(host)
    return np.concatenate(found)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def seconds(one: runtime.Solver, iterations: int) -> float:
    """Return the time of an iteration, once all is compiled and recorded."""
    one.step(5)
    started = time.perf_counter()
    one.step(iterations)
    return (time.perf_counter() - started) / iterations


def main() -> int:
    """Run all checks and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--backend", default="cupy", choices=("cupy", "numpy"))
    options = parser.parse_args()
    gpu, one = options.backend == "cupy", {"backend": options.backend}
    world = runtime.distributed.world()
    gpus = count_gpus()
    if world.size < 2 or (gpu and gpus < 2):
        print(
            f"needs two ranks and two GPUs: this is {world.size} rank, and sees {gpus} "
            f"GPUs; run mpiexec -n 2 python tools/gpu_ranks.py where there are some"
        )
        return 2
    failures: list[str] = []

    def check(what: str, passed: bool, told: str = "") -> None:
        if world.rank == 0:
            print(f"{'ok    ' if passed else 'FAILED'} {what} {told}", flush=True)
        if not passed:
            failures.append(what)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ranks = solver(options.batch, communicator=world, check_replicas=1, **one)
    host = any("memory of the host" in str(one.message) for one in caught)
    met = isinstance(ranks.communicator, OnDevices) and not host
    if gpu:
        check("ranks meet by NCCL", met)
    alone = solver(options.batch, iter_size=world.size, **one)
    for iterations, most in ((1, FIRST), (9, LATER)):
        ranks.step(iterations)
        alone.step(iterations)
        far = apart(learned(ranks), learned(alone))
        what = f"{ranks.iter} iterations are those of one GPU"
        check(what, far <= most, f"{far:.1e} of at most {most:.0e}")
    synced = solver(options.batch, communicator=world, sync_batch_norm=True, **one)
    before = world.gather(float(learned(synced).sum()))
    synced.step(3)
    after = world.gather(float(learned(synced).sum(dtype="float64")))
    same = len(set(after)) == 1 and before[0] != after[0]
    check("with sync_batch_norm all hold the same", same)
    together = seconds(
        solver(options.batch, communicator=world, **one), options.iterations
    )
    single = seconds(solver(options.batch, **one), options.iterations)
    if world.rank == 0:
        print(
            f"an iteration of {world.size} ranks takes {1e3 * together:.2f} ms, of one "
            f"alone {1e3 * single:.2f} ms (as one graph, without other ranks): "
            f"efficiency {single / together:.2f}"
        )
    return int(any(world.gather(len(failures))))


if __name__ == "__main__":
    sys.exit(main())
