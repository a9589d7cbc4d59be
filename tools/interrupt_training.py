"""Interrupt training at random moments and compare it with training that is left alone.

    python tools/interrupt_training.py [--interrupts N] [--seed N]

Five small nets are trained while a second process sends SIGINT at random moments; every
`KeyboardInterrupt` is caught and training goes on. Then the same solver is made again
and trained as far at one go. Parameters, running values, records and `iter` must be
equal, bit for bit. The exit status is 1 where they are not.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

import runtime
from runtime.training.solver import Solver

ENDLESS = 1_000_000_000

# Reads delays in seconds, and sends an interrupt after each.
SENDER = """
import os, signal, sys, time
for line in sys.stdin:
    time.sleep(float(line))
    os.kill(os.getppid(), signal.SIGINT)
"""

CLASSES = """
layer { name: "y" type: "InnerProduct" bottom: "%s" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""

MEMORY = (
    """
layer { name: "data" type: "MemoryData" top: "x" top: "label"
        memory_data_param { batch_size: 8 channels: 1 height: 8 width: 8 } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 8 kernel_size: 3
                            weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "c" top: "c" }
"""
    + CLASSES % "c"
)

BATCH_NORM = (
    """
layer { name: "data" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: [6, 3, 9, 9] } shape { dim: 6 }
                           data_filler { type: "gaussian" std: 1.5 }
                           data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 5 kernel_size: 3 pad: 1
                            weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "scale" type: "Scale" bottom: "c" top: "c"
        scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p"
        pooling_param { kernel_size: 3 stride: 2 } }
"""
    + CLASSES % "p"
)

PLAIN = (
    """
layer { name: "data" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: [16, 30] } shape { dim: 16 }
                           data_filler { type: "uniform" min: -1 max: 1 }
                           data_filler { type: "constant" value: 1 } } }
layer { name: "h" type: "InnerProduct" bottom: "x" top: "h"
        inner_product_param { num_output: 50 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "h" top: "h"
        dropout_param { dropout_ratio: 0.3 } }
layer { name: "relu" type: "ReLU" bottom: "h" top: "h" }
"""
    + CLASSES % "h"
)

FILE = (
    """
layer { name: "data" type: "HDF5Data" top: "x" top: "label"
        hdf5_data_param { source: "%s" batch_size: 7 shuffle: true } }
layer { name: "h" type: "InnerProduct" bottom: "x" top: "h"
        inner_product_param { num_output: 20 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "h" top: "h" }
"""
    + CLASSES % "h"
)

TESTED = " test_iter: 2 test_interval: 7"
SOLVERS: dict[str, tuple[str, str]] = {
    "SGD, arrays in memory": (MEMORY, "momentum: 0.9"),
    "Adam, BatchNorm": (BATCH_NORM, 'type: "Adam" momentum: 0.9 average_loss: 5'),
    "Nesterov, iter_size 3": (
        PLAIN,
        'type: "Nesterov" momentum: 0.8 iter_size: 3 clip_gradients: 1' + TESTED,
    ),
    "RMSProp, weight decay": (PLAIN, 'type: "RMSProp" weight_decay: 0.01'),
    "AdaDelta, HDF5": (FILE, 'type: "AdaDelta" momentum: 0.9 delta: 1e-6' + TESTED),
}


def make(name: str, folder: Path) -> Solver:
    """Make one of the solvers; `folder` is for its data."""
    net, options = SOLVERS[name]
    rng = np.random.default_rng(5)
    if "HDF5Data" in net:
        net %= _write_rows(folder, rng)
    rate = f'base_lr: 0.01 lr_policy: "inv" gamma: 0.001 power: 0.75 {options}'
    solver: Solver = runtime.get_solver(f"{rate} net_param {{ {net} }}")
    if "MemoryData" in net:
        labels = rng.integers(0, 4, 64)
        solver.net.set_input_arrays(rng.normal(size=(64, 1, 8, 8)), labels)
    return solver


def _write_rows(folder: Path, rng: np.random.Generator) -> Path:
    import h5py

    source = folder / "rows.txt"
    if not source.exists():
        with h5py.File(folder / "rows.h5", "w") as file:
            file["x"] = rng.normal(size=(50, 12)).astype(np.float32)
            file["label"] = rng.integers(0, 4, 50).astype(np.float32)
        source.write_text(str(folder / "rows.h5"))
    return source


@contextmanager
def sender() -> Iterator[Any]:
    """Start the process that sends interrupts; yields where to write delays.

    Until it ends interrupts count, also where this process was started to ignore them,
    as shells start what runs in the background.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "-c", SENDER], stdin=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdin
        finally:
            process.kill()
            signal.signal(signal.SIGINT, before)


def interrupt(solver: Solver, delays: Any, delay_s: float) -> None:
    """Train until an interrupt comes."""
    try:
        delays.write(f"{delay_s}\n")
        delays.flush()
        solver.step(ENDLESS)
    except KeyboardInterrupt:
        return
    raise AssertionError("the interrupt was lost")


def state(solver: Solver) -> dict[str, Any]:
    """Return all that must be equal: parameters, running values, records, `iter`."""
    train = [replace(record, seconds=0) for record in solver.history.train]
    tests = [
        (record.iteration, record.net, sorted(record.scalars().items()))
        for record in solver.history.tests
    ]
    arrays = [
        array.tobytes() for array in (solver.net.flat.data, *solver.update.history)
    ]
    return {
        "iter": solver.iter,
        "records": [astuple(record) for record in train],
        "tests": tests,
        "arrays": arrays,
    }


def check(name: str, folder: Path, interrupts: int, rng: random.Random) -> str | None:
    """Interrupt one solver and compare; return what differs."""
    solver = make(name, folder)
    solver.step(1)
    started = time.perf_counter()
    solver.step(5)
    longest_s = max(0.004, time.perf_counter() - started)
    with sender() as delays:
        for _ in range(interrupts):
            interrupt(solver, delays, rng.uniform(0, longest_s))
    again = make(name, folder)
    for iterations in (1, 5, solver.iter - 6):  # each call averages losses anew
        again.step(iterations)
    mine, others = state(solver), state(again)
    differs = [what for what, value in mine.items() if value != others[what]]
    solver.close()
    again.close()
    print(f"{name}: {interrupts} interrupts in {solver.iter} iterations", flush=True)
    return f"{name}: {', '.join(differs)} differ" if differs else None


def main() -> int:
    """Run all solvers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    each = -(-options.interrupts // len(SOLVERS))
    with tempfile.TemporaryDirectory() as folder:
        bad = [check(name, Path(folder), each, rng) for name in SOLVERS]
    for line in filter(None, bad):
        print(line)
    print(f"{len(SOLVERS) - sum(map(bool, bad))} of {len(SOLVERS)} equal bit for bit")
    return 1 if any(bad) else 0


if __name__ == "__main__":
    sys.exit(main())
