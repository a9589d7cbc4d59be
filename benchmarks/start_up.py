"""Seconds to the end of the first training step: `python benchmarks/start_up.py`.

They count from the start of Python; every row is a process of its own. "Cold" has an
empty folder for machine code, "warm" that of the process before; seconds of the clock,
and of the processors by all processes that it started. PyTorch's row imports it, makes
a small net, and takes a step.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tables import markdown, write_into
from turns import processor

HERE = Path(__file__).resolve().parent
OURS = """
import sys
sys.path.insert(0, {here!r})
from compare import solver_of
import nets
solver_of(nets.train_net({net!r})).step(1)
"""
THEIRS = """
import torch
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2), torch.nn.Conv2d(20, 50, 5),
    torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(800, 500),
    torch.nn.ReLU(), torch.nn.Linear(500, 10),
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
loss = torch.nn.functional.cross_entropy(
    net(torch.randn(64, 1, 28, 28)), torch.zeros(64, dtype=torch.long)
)
loss.backward()
optimizer.step()
"""
WARM_RUNS = 5


def run(code: str, cache: Path) -> tuple[float, float]:
    """Run code in a process; returns its seconds by the clock and of processors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    environment = {**os.environ, "NETSPEC_CACHE_DIR": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as where packages are installed
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, worked


def rows_of(title: str, code: str, *, compiles: bool) -> list[list[str]]:
    """Measure one program cold, if it compiles, and warm."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(code, Path(folder)) for _ in range(1 + WARM_RUNS)]
    parts = {"cold": runs[:1]} if compiles else {}
    for kind, several in {**parts, "warm": runs[1:]}.items():
        walls, worked = zip(*several, strict=True)
        seconds = f"{statistics.median(walls):.2f}"
        row = [f"{title}, {kind}", seconds, f"{statistics.median(worked):.2f}"]
        print(f"| {' | '.join(row)} |", flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Until the first training step.")
    parser.add_argument("nets", nargs="*", default=["lenet", "googlenet"])
    parser.add_argument("--no-torch", action="store_true", help="ours alone")
    parser.add_argument("--write", type=Path, help="write the table into this file")
    options = parser.parse_args()
    rows = []
    for net in options.nets:
        code = OURS.format(here=str(HERE), net=net)
        rows += rows_of(net, code, compiles=True)
    if not options.no_torch:
        rows += rows_of("PyTorch, a net like LeNet", THEIRS, compiles=False)
    heads = ["until the first training step", "seconds", "of processors"]
    text = f"{date.today()}, {processor()}, {os.cpu_count()} processors."
    if options.write:
        write_into(options.write, f"{text}\n\n{markdown(heads, rows)}", "start-up")


if __name__ == "__main__":
    main()
