"""Our speed beside OpenCV's: `python benchmarks/detection.py [MODEL ...] [--batch N]`.

Inference of detection nets with the same files, random weights and images, in one
process, taking turns, both on the same number of threads; medians, and the median of
the ratios of neighbouring turns. The detections of both are compared first.

Needs OpenCV (opencv-python-headless).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import runtime
from netspec.commands.model_files import load_model
from netspec.errors import SpecWarning
from netspec.nets.current import current
from netspec.schema import NetParameter
from netspec.text import to_text

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("ssd300",)
BATCHES = (1, 8)
THREADS = 2
TURNS = 9
HEAD_GAIN = 0.03  # of the layers that say how boxes move, so that boxes stay in sight
TOLERANCE = 1e-4
PIXELS = 50.0  # standard deviation of the values of an image


def with_weights(net: NetParameter, seed: int = 0) -> runtime.Net:
    """Return a net whose activations keep their size from layer to layer."""
    made = runtime.Net(net, runtime.TEST, keep=())
    rng = np.random.default_rng(seed)
    for name, blobs in made.params.items():
        w = blobs[0].data
        if w.ndim == 4:
            gain = HEAD_GAIN if "mbox" in name else 1
            scale = gain * np.sqrt(2 / np.prod(w.shape[1:]))
            w[...] = rng.normal(size=w.shape) * scale
    return made


def equal_rows(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Return how many of how many detections OpenCV has too, within the tolerance.

    Where two scores are equal but for rounding, either may suppress the other, and then
    single rows are missing.
    """
    mine, other = ours.reshape(-1, 7), theirs.reshape(-1, 7)
    apart = np.abs(mine[:, None] - other[None]).max(axis=2).min(axis=1)
    return f"{np.count_nonzero(apart <= TOLERANCE)} of {len(mine)}"


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare(model: str, batch: int, turns: int) -> str:
    """Return a line of the table: both times in milliseconds, and their ratio."""
    net = current(load_model(str(ROOT / "models" / f"{model}.py"), deploy=True))
    net.layer[0].input_param.shape[0].dim[0] = batch
    net.layer[-1].detection_output_param.ClearField("save_output_param")
    ours = with_weights(net)
    with tempfile.TemporaryDirectory() as folder:
        text, weights = Path(folder) / "net.prototxt", Path(folder) / "net.caffemodel"
        text.write_text(to_text(net))
        ours.save(str(weights))
        theirs = cv2.dnn.readNetFromCaffe(str(text), str(weights))
    shape = ours.blobs["data"].shape
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32) * PIXELS

    def run_theirs() -> np.ndarray:
        theirs.setInput(image)
        found: np.ndarray = theirs.forward()
        return found

    def run_ours() -> np.ndarray:
        return ours.forward(data=image)["detection_out"]

    equal = equal_rows(run_ours(), run_theirs())
    run_ours(), run_theirs()
    pairs = [(seconds(run_ours), seconds(run_theirs)) for _ in range(turns)]
    mine, other = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    return f"| {model} | {batch} | {mine:.0f} | {other:.0f} | {ratio:.2f} | {equal} |"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch", type=int, action="append", help="default 1 and 8")
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    cv2.setNumThreads(THREADS)
    print(f"OpenCV {cv2.__version__}, {THREADS} threads each")
    print("| model | batch | ours, ms | OpenCV, ms | ratio | equal detections |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        for model in options.models:
            for batch in options.batch or BATCHES:
                print(compare(model, batch, options.turns), flush=True)


if __name__ == "__main__":
    main()
