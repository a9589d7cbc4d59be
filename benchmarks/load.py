"""What reading costs: `python benchmarks/load.py [--net googlenet]`.

A training step of a net that reads JPEG images (256 x 256, cropped to 224, mirrored,
mean subtracted) from LMDB and from a list of files, beside the same step on values that
are already there, taking turns; medians.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import lmdb
import nets
import numpy as np
from compare import SEED, solver_of, take_turns
from PIL import Image

from netspec.schema import Datum, LayerParameter, NetParameter, SolverParameter
from runtime import get_solver

SIZE, CROP, IMAGES = 256, 224, 256
MAP_BYTES = 1 << 30


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


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="What reading costs.")
    parser.add_argument("--net", default="googlenet", choices=nets.MODELS)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
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
        times = take_turns(runs, options.seconds)
        base = times["values that are there"]
        for key, seconds in times.items():
            print(f"{key:<24}{1000 * seconds:9.1f} ms  {seconds / base:5.2f}")
        for solver in solvers.values():
            solver.net.close()


if __name__ == "__main__":
    main()
