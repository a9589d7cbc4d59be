"""What `fit` costs beside bare steps: `python benchmarks/fit_overhead.py`.

LeNet at batch 64, in turns of some iterations each: `solver.step` with inputs that stay
as they are; `fit` from arrays; `fit` with a callback and with progress; and an epoch of
60,000 images from an LMDB database through a data layer, of which the arrays are the
images. Told are the processor's time of an iteration, all threads together, and the
median of the ratios of neighbouring turns, which a busy machine changes less.

The targets: `fit` with all of it at most 2 % above bare steps, and arrays at most 5 %
above the database.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nets
import numpy as np

import runtime
from netspec.commands.model_files import load_model
from netspec.schema import Datum, NetParameter

COUNT, BATCH, CLASSES = 60_000, 64, 10
SOLVER: dict[str, Any] = {"base_lr": 0.0001, "momentum": 0.9, "weight_decay": 0.0005}
SCALE = 1 / 256
SEED = 1


class Counting(runtime.Callback):
    """A callback that is called after every iteration, as loggers are."""

    count = 0

    def on_step(self, record: Any) -> None:
        """Count it."""
        self.count += 1


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random pictures of digits' size, and labels."""
    rng = np.random.default_rng(SEED)
    x = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    return x, rng.integers(0, CLASSES, count)


def bare(net: NetParameter, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    """Return what trains by steps alone, with one batch."""
    solver = runtime.Solver(net, **SOLVER, max_iter=1, seed=SEED)
    solver.net.blobs["data"].data[...] = x[:BATCH] * np.float32(SCALE)
    solver.net.blobs["label"].data[...] = y[:BATCH]
    return lambda iterations: solver.step(iterations, progress=False)


def fitting(
    net: NetParameter, data: Any, *, progress: Any = False, **more: Any
) -> Callable[[int], None]:
    """Return what trains by `fit`, turn after turn."""
    how: dict[str, Any] = {"solver": SOLVER, "seed": SEED, "fresh": True} | more
    with contextlib.redirect_stdout(io.StringIO()):
        history = runtime.fit(net, data, max_iter=1, progress=progress, **how)

    def run(iterations: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.fit(history, max_iter=iterations, progress=progress)

    return run


def database(x: np.ndarray, y: np.ndarray, path: Path) -> Path:
    """Write the images into an LMDB database."""
    import lmdb

    with lmdb.open(str(path), map_size=2**30) as env, env.begin(write=True) as txn:
        for number, (image, label) in enumerate(zip(x, y, strict=True)):
            datum = Datum(channels=1, height=28, width=28, label=int(label))
            datum.data = image.tobytes()
            txn.put(f"{number:08}".encode(), datum.SerializeToString())
    return path


def from_database(path: Path) -> Callable[[int], None]:
    """Return what trains with a data layer."""
    model = str(nets.ROOT / "models" / "lenet.py")
    settings = [f"source={path}", f"test_source={path}", f"batch_size={BATCH}"]
    net = load_model(model, settings=settings)
    solver = runtime.Solver(net, **SOLVER, max_iter=1, seed=SEED)
    return lambda iterations: solver.step(iterations, progress=False)


def compare(
    ways: dict[str, Callable[[int], None]], turns: int, iterations: int
) -> dict[str, list[float]]:
    """Return the processor's seconds of every turn of every way, turn about."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run(iterations)
    for _ in range(turns):
        for name, run in ways.items():
            start = time.process_time()
            run(iterations)
            found[name].append((time.process_time() - start) / iterations)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--images", type=int, default=COUNT)
    options = parser.parse_args(arguments)
    net = nets.train_net("lenet", BATCH)
    x, y = images(options.images)
    scaled = x * np.float32(SCALE)
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "step": bare(net, x, y),
            "fit": fitting(net, (scaled, y)),
            "fit, callback, progress": fitting(
                net, (scaled, y), callbacks=[Counting()], progress="lines"
            ),
            "fit, bytes": fitting(net, (x, y), transform={"scale": SCALE}),
            "LMDB": from_database(database(x, y, Path(folder) / "lmdb")),
        }
        found = compare(ways, options.turns, options.iterations)
    print(f"{'':<26}{'ms':>8}{'to step':>10}{'to LMDB':>10}")
    for name, seconds in found.items():
        ratios = [
            statistics.median(a / b for a, b in zip(seconds, found[to], strict=True))
            for to in ("step", "LMDB")
        ]
        told = "".join(f"{100 * (ratio - 1):>+9.1f}%" for ratio in ratios)
        print(f"{name:<26}{1000 * statistics.median(seconds):>8.2f}{told}")


if __name__ == "__main__":
    main()
