"""What reading costs: `python benchmarks/load.py [--net googlenet | --weights MODEL]`.

A training step of a net that reads JPEG images (256 x 256, cropped to 224, mirrored,
mean subtracted) from LMDB and from a list of files, beside the same step on values that
are already there, taking turns; medians.

With --weights, a model file such as models/vgg16.py: copying the weights of its net for
use from files of every format, and reading them without a net, beside reading the bytes
of the caffemodel, taking turns; medians, and the most memory that one of them took
beside the net, as a part of the size of the file (on Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import nets
import numpy as np
from compare import solver_of
from PIL import Image
from turns import take_turns
from values import SEED

from netspec.commands.model_files import load_model
from netspec.schema import Datum, LayerParameter, NetParameter, SolverParameter
from netspec.weights import read_weights
from runtime import Net, get_solver

SIZE, CROP, IMAGES = 256, 224, 256
MAP_BYTES = 1 << 30
FORMATS = ("caffemodel", "h5", "safetensors", "npz")


def write_images(folder: Path) -> None:
    """Write smooth random images as JPEG files, as a list, and as an LMDB."""
    rng = np.random.default_rng(SEED)
    lines = []
    environment = lmdb.open(str(folder / "lmdb"), map_size=MAP_BYTES)
    with environment.begin(write=True) as transaction:
        for number in range(IMAGES):
            coarse = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((SIZE, SIZE))
            path = folder / f"{number}.jpg"
            image.save(path, quality=90)
            lines.append(f"{path.name} {number % 10}\n")
            datum = Datum(data=path.read_bytes(), label=number % 10, encoded=True)
            transaction.put(f"{number:08d}".encode(), datum.SerializeToString())
    environment.close()
    (folder / "list.txt").write_text("".join(lines))


def reading_net(name: str, folder: Path, kind: str) -> NetParameter:
    """Return the train net of a model with a layer that reads images."""
    net = nets.train_net(name)
    tops = [layer.top[0] for layer in net.layer[:2]]
    batch = net.layer[0].input_param.shape[0].dim[0]
    del net.layer[:2]
    options: dict[str, Any] = {
        "transform_param": {
            "crop_size": CROP,
            "mirror": True,
            "mean_value": [104, 117, 123],
        }
    }
    if kind == "ImageData":
        options["image_data_param"] = {
            "source": str(folder / "list.txt"),
            "root_folder": f"{folder}/",
            "batch_size": batch,
        }
    else:
        options["data_param"] = {
            "source": str(folder / "lmdb"),
            "backend": "LMDB",
            "batch_size": batch,
        }
    layer = LayerParameter(name="data", type=kind, top=tops, **options)
    net.layer.insert(0, layer)
    return net


def peak_bytes() -> int:
    """Return the most memory that this process had since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def forget_peak() -> None:
    """Let the system begin anew with the peak of this process, where it can."""
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measured(run: Callable[[], Any]) -> tuple[float, int]:
    """Return the seconds of a call, and the most bytes that it took beside others."""
    forget_peak()
    before = peak_bytes()
    start = time.perf_counter()
    held = run()
    seconds = time.perf_counter() - start
    peak = peak_bytes() - before
    del held
    return seconds, peak


def compare_weights(model: str, turns: int) -> None:
    """Print what reading the weights of a model costs, from files of every format."""
    net = Net(load_model(model, deploy=True))
    rng = np.random.default_rng(SEED)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.standard_normal(blob.shape, np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"w.{suffix}" for suffix in FORMATS]
        for path in paths:
            net.save(path)
        size = paths[0].stat().st_size
        runs: dict[str, Callable[[], Any]] = {"bytes": paths[0].read_bytes}
        for path in paths:
            runs[f"copy_from {path.suffix}"] = partial(net.copy_from, path)
        runs["read_weights .caffemodel"] = lambda: read_weights(paths[0])
        found: dict[str, list[tuple[float, int]]] = {key: [] for key in runs}
        for _ in range(turns):
            for key, run in runs.items():
                found[key].append(measured(run))
    net.close()
    print(f"{model}: {size / 1e6:.0f} MB, medians of {turns} turns, largest memory")
    base = statistics.median(seconds for seconds, _ in found["bytes"])
    for key, both in found.items():
        seconds = statistics.median(each for each, _ in both)
        memory = max(nbytes for _, nbytes in both) / size
        print(f"{key:<28}{seconds:8.3f} s {seconds / base:6.2f} x {memory:6.2f} x")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="What reading costs.")
    parser.add_argument("--weights", metavar="MODEL", help="a model file")
    parser.add_argument("--turns", type=int, default=9, help="with --weights")
    parser.add_argument("--net", default="googlenet", choices=nets.MODELS)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    if options.weights:
        compare_weights(options.weights, options.turns)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        solvers = {"values that are there": solver_of(nets.train_net(options.net))}
        for kind in ("Data", "ImageData"):
            param = SolverParameter(
                net_param=reading_net(options.net, folder, kind),
                base_lr=1e-4,
                momentum=0.9,
                weight_decay=5e-4,
                lr_policy="fixed",
                max_iter=10**6,
            )
            solvers[kind] = get_solver(param, seed=SEED, keep=())
        runs = {key: (lambda one=one: one.step(1)) for key, one in solvers.items()}
        turns = take_turns(runs, options.seconds)
        base = "values that are there"
        for key, side in turns.sides.items():
            ratio = turns.ratio(key, base)
            print(f"{key:<24}{1000 * side.median:9.1f} ms  {ratio:5.2f}")
        for solver in solvers.values():
            solver.net.close()


if __name__ == "__main__":
    main()
