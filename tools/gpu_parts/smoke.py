"""Does anything work? A ufunc, a product, a kernel, a graph, and a net that trains.

    python -m tools.gpu_parts.smoke [--backend NAME]

The exit status is 1 if anything failed. Without a GPU ("host") only the net is tried.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

import runtime
from tools.gpu_parts.devices import backend

PRECISIONS = {
    "float32": 1e-4,
    "tf32": 1e-2,
    "bf16": 0.1,
}  # and what losses may differ by
SOURCE = """
extern "C" __global__ void add(const float* a, float* b, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) b[i] += a[i];
}
"""
NET = """
layer { name: "x" type: "Input" top: "x" top: "label"
        input_param { shape { dim: [6, 3, 15, 13] } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1
                            weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p"
        pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "y" type: "InnerProduct" bottom: "p" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""


def equal(got: object, want: object, tolerance: float = 1e-5) -> None:
    """Raise `AssertionError` where numbers differ."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=tolerance)


def ufunc() -> None:
    """Add on the device."""
    import cupy

    equal((cupy.arange(1000, dtype="float32") + 2).get(), np.arange(1000) + 2)


def product() -> None:
    """Multiply matrices through CuPy."""
    import cupy

    a = np.random.default_rng(1).normal(size=(70, 50)).astype("float32")
    equal((cupy.asarray(a) @ cupy.asarray(a.T)).get(), a @ a.T, 1e-3)


def kernel() -> None:
    """Compile a kernel and launch it."""
    import cupy

    add = cupy.RawModule(code=SOURCE).get_function("add")
    a, b = cupy.arange(1000, dtype="float32"), cupy.ones(1000, "float32")
    add((4,), (256,), (a, b, np.int32(1000)))
    equal(b.get(), np.arange(1000) + 1)


def graph() -> None:
    """Record a kernel, and launch the record three times."""
    import cupy

    add = cupy.RawModule(code=SOURCE).get_function("add")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a, b = cupy.arange(1000, dtype="float32"), cupy.zeros(1000, "float32")
        add((4,), (256,), (a, b, np.int32(1000)))
        stream.begin_capture()
        add((4,), (256,), (a, b, np.int32(1000)))
        record = stream.end_capture()
        for _ in range(3):
            record.launch(stream)
        stream.synchronize()
        equal(b.get(), 4 * np.arange(1000))


def losses(name: str, precision: str = "float32") -> list[float]:
    """Train the net for some steps and return the losses."""
    solver = runtime.get_solver(
        f'base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" net_param {{ {NET} }}',
        backend=name,
        precision=precision,
        seed=3,
    )
    rng = np.random.default_rng(4)
    solver.net.blobs["x"].data[...] = rng.normal(size=(6, 3, 15, 13))
    solver.net.blobs["label"].data[...] = rng.integers(0, 4, 6)
    solver.step(5)
    return [record.loss for record in solver.history.train]


def training(name: str, precision: str) -> None:
    """Train as the portable kernels do."""
    equal(losses(name, precision), losses("portable"), PRECISIONS[precision])


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Does anything work?")
    parser.add_argument("--backend", default="cupy")
    name = parser.parse_args().backend
    checks: dict[str, Callable[[], object]] = {}
    if name == "cupy":
        checks = {"ufunc": ufunc, "product": product, "kernel": kernel, "graph": graph}
    checks["backend"] = partial(backend, name)
    for precision in PRECISIONS:
        checks[f"training in {precision}"] = partial(training, name, precision)
    bad = 0
    for what, check in checks.items():
        try:
            check()
            print(f"ok {what}", flush=True)
        except Exception as error:
            bad += 1
            print(f"FAIL {what}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - bad} of {len(checks)} work")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
