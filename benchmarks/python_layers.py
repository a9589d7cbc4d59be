"""What calling a layer in Python costs: `python benchmarks/python_layers.py`.

Nets of one input and 32 layers in a row whose code does nothing, forward and backward,
for both forms: a class of `runtime.Layer`, as for pycaffe, and one of `netspec.layer`.
Microseconds that one layer more costs, forward and backward together and with its own
methods, the best of several rounds. The second row looks at each of its arrays once,
the fourth returns arrays that are copied. They have one element, so that copying is
calling too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L

LAYERS = 32
PASSES = 50
MICROSECONDS = 1e6


@runtime.register_layer
class Empty(runtime.Layer):
    """A layer that does nothing."""

    def setup(self, bottom: Any, top: Any) -> None:
        """Shape the top."""
        top[0].reshape(1)

    def forward(self, bottom: Any, top: Any) -> None:
        """Do nothing."""

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Do nothing."""


@runtime.register_layer
class Reading(Empty):
    """A layer that looks at its arrays."""

    def reshape(self, bottom: Any, top: Any) -> None:
        """Shape the top again."""
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Any, top: Any) -> None:
        """Look at both blobs."""
        bottom[0].data, top[0].data

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Look at both gradients."""
        top[0].diff, bottom[0].diff


@netspec.layer
class Given:
    """A layer of `netspec.layer` whose arrays are in their places already."""

    def forward(self, c: runtime.Call, x: Any) -> Any:
        """Return the top."""
        return c.tops[0]

    def backward(self, c: runtime.Call, dy: Any) -> Any:
        """Return the gradient."""
        return c.dbottoms[0]


@netspec.layer
class Returned:
    """A layer of `netspec.layer` that returns other arrays."""

    def forward(self, c: runtime.Call, x: Any) -> Any:
        """Return the bottom, to be copied."""
        return x

    def backward(self, c: runtime.Call, dy: Any) -> Any:
        """Return the gradient of the top, to be copied."""
        return dy


def chain(call: Callable[[Any], Any], layers: int) -> runtime.Net:
    """Return a net of `layers` layers in a row."""
    n = NetSpec(force_backward=True)
    x = n.x = L.Input(shape=[1])
    for index in range(layers):
        x = n[f"y{index}"] = call(x)
    return runtime.Net(n, runtime.TRAIN)


def seconds(call: Callable[[Any], Any], layers: int, rounds: int) -> float:
    """Return the time of a forward and a backward pass, the best of many."""
    net = chain(call, layers)
    net.forward_backward()
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(PASSES):
            net.forward_backward()
        best = min(best, (time.perf_counter() - started) / PASSES)
    return best


def pycaffe(kind: type) -> Callable[[Any], Any]:
    """Return the layer function of a class for pycaffe."""
    return lambda x: L.Python(x, module=kind.__module__, layer=kind.__qualname__)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="default 30")
    rounds = parser.parse_args().rounds
    rows: dict[str, Any] = {
        "runtime.Layer, empty": pycaffe(Empty),
        "runtime.Layer, reading": pycaffe(Reading),
        "netspec.layer, in place": Given,
        "netspec.layer, returned": Returned,
    }
    print(f"{'layer':<26}  us a call, forward and backward together")
    for name, call in rows.items():
        many, one = (seconds(call, layers, rounds) for layers in (LAYERS, 1))
        each = (many - one) / (LAYERS - 1)
        print(f"{name:<26}  {each * MICROSECONDS:.2f}")


if __name__ == "__main__":
    main()
