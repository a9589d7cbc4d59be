"""Train on a GPU: LeNet to its accuracy, runs that go on, with and without graphs.

    python -m tools.gpu_parts.training [--backend NAME]

A run that goes on from a snapshot, and one whose calls are made one by one instead of
as a graph, must have the parameters, running values and losses of the plain run, bit
for bit. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path

import runtime
from tools.demo import NEEDED_ACCURACY, ROOT, TEST_BATCH_SIZE, run
from tools.gpu_parts.devices import backend, without_graphs
from tools.interrupt_training import state

PRECISIONS = ("float32", "tf32", "bf16")
NET = """
layer { name: "x" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: [6, 4, 19, 17] } shape { dim: 6 }
                           data_filler { type: "gaussian" std: 1.5 }
                           data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2
                            weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "scale" type: "Scale" bottom: "c" top: "c"
        scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "norm" type: "LRN" bottom: "c" top: "n" }
layer { name: "pool" type: "Pooling" bottom: "n" top: "p"
        pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "a" type: "Convolution" bottom: "p" top: "a"
        convolution_param { num_output: 8 kernel_size: 1
                            weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "p" top: "s" }
layer { name: "both" type: "Concat" bottom: "s" bottom: "p" top: "b" }
layer { name: "drop" type: "Dropout" bottom: "b" top: "b" }
layer { name: "y" type: "InnerProduct" bottom: "b" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""


def solver(name: str, precision: str, rule: str) -> runtime.Solver:
    """Return a solver of the net above."""
    return runtime.get_solver(
        f'base_lr: 0.01 lr_policy: "inv" gamma: 0.01 power: 0.75 momentum: 0.9 '
        f'weight_decay: 0.001 type: "{rule}" snapshot_prefix: "s" '
        f"net_param {{ {NET} }}",
        backend=name,
        precision=precision,
        seed=5,
    )


def trained(name: str, precision: str, rule: str, steps: int, rest: bool) -> object:
    """Return the state after a run, or after its second half from a snapshot."""
    half = steps // 2
    one = solver(name, precision, rule)
    if rest:
        one.step(half)
        path = one.snapshot().state
        one.close()
        one = solver(name, precision, rule)
        one.restore(path)
        one.step(steps - half)
    else:
        one.step(steps)
    found = state(one)
    losses = [record[1] for record in found.pop("records")][half - steps :]
    one.close()
    return found | {"losses": losses}


def check_equal(one: object, other: object) -> None:
    """Raise `AssertionError` where two states differ, and name what does."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        raise TypeError("two states are needed")
    differ = [what for what, value in one.items() if value != other[what]]
    if differ:
        raise AssertionError(f"{', '.join(differ)} differ")


def resumed(name: str, precision: str, rule: str, steps: int) -> None:
    """Compare a run that goes on with one that never stopped."""
    whole = trained(name, precision, rule, steps, rest=False)
    check_equal(whole, trained(name, precision, rule, steps, rest=True))


def eager(name: str, precision: str, steps: int) -> None:
    """Compare a run of recorded graphs with one of single calls."""
    recorded = trained(name, precision, "SGD", steps, rest=False)
    other = without_graphs(name)
    check_equal(recorded, trained(other, precision, "SGD", steps, rest=False))


def lenet(name: str, precision: str) -> None:
    """Train LeNet on digits; it must read as many as on the CPU."""
    options = {"source": "digits_train_lmdb", "test_source": "digits_test_lmdb"}
    settings = [f"{key}={value}" for key, value in options.items()]
    settings.append(f"test_batch_size={TEST_BATCH_SIZE}")
    here = Path.cwd()
    if not (here / "digits_train_lmdb").exists():
        run(here, "-m", "runtime.data", "digits", "--force", capture=True)
        arguments = [word for setting in settings for word in ("--set", setting)]
        model = ROOT / "models/lenet.py"
        command = ["-m", "netspec.export", str(model), *arguments]
        run(here, *command, "-o", "lenet_train_test.prototxt", capture=True)
    one = runtime.get_solver(
        ROOT / "models/lenet_digits_solver.prototxt", backend=name, precision=precision
    )
    one.solve()
    accuracy = float(one.test()[0].outputs["accuracy"])
    one.close()
    print(f"LeNet in {precision} reads {accuracy:.1%} of the digits", flush=True)
    if accuracy < NEEDED_ACCURACY:
        raise AssertionError(f"{accuracy:.1%}, expected {NEEDED_ACCURACY:.0%}")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Train on a GPU.")
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--steps", type=int, default=12, help="of a run")
    parser.add_argument(
        "--lenet",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="which takes minutes without a GPU",
    )
    options = parser.parse_args()
    name, steps = options.backend, options.steps
    backend(name)
    checks: dict[str, Callable[[], None]] = {}
    for p in options.precisions:
        if options.lenet:
            checks[f"LeNet in {p}"] = partial(lenet, name, p)
        checks[f"going on in {p}"] = partial(resumed, name, p, "SGD", steps)
        if name in ("cupy", "host"):
            checks[f"single calls in {p}"] = partial(eager, name, p, steps)
    checks["going on with Adam"] = partial(
        resumed, name, options.precisions[0], "Adam", steps
    )
    bad = 0
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for what, check in checks.items():
            try:
                check()
                print(f"ok {what}", flush=True)
            except Exception as error:
                bad += 1
                print(f"FAIL {what}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - bad} of {len(checks)} right")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
