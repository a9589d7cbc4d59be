"""`python -m runtime time`: how long each layer takes, forward and backward."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.commands.cli import positive
from runtime.cli.compiling import Compiling
from runtime.cli.options import (
    add_allow_python,
    add_backend,
    add_model,
    add_precision,
    add_state,
    add_ways,
    open_net,
)
from runtime.execution.net import Net
from runtime.execution.plan import Step
from runtime.layers.base import TopsChanged
from runtime.training.showing.words import batch_size

DEFAULT_ITERATIONS = 10
MILLISECONDS = 1e3


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "time",
        help="time a net",
        description=__doc__,
        examples=(
            "train_val.prototxt --iterations 20",
            "deploy.prototxt --phase TEST --batch-size 1",
            "net.py --set depth=18 --gpu 0",
        ),
    )
    add_model(parser)
    parser.add_argument(
        "--iterations",
        type=positive,
        default=DEFAULT_ITERATIONS,
        metavar="N",
        help=f"how many passes to average (default {DEFAULT_ITERATIONS})",
    )
    add_state(parser, "TRAIN")
    add_backend(parser)
    add_precision(parser)
    add_ways(parser)
    add_allow_python(parser)
    parser.set_defaults(command=measure)


def measure(options: argparse.Namespace) -> int:
    """Run the command."""
    net = open_net(options, keep=())
    try:
        with np.errstate(all="ignore"), Compiling(net.backend):
            forward, backward = time_layers(net, options.iterations)
    finally:
        net.close()
    _print_table(net, forward, backward, options.iterations)
    return 0


def time_layers(net: Net, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean seconds of every layer, forward and backward.

    One pass before the measured ones warms caches up.
    """
    net.forward_backward()
    forward = np.zeros(len(net.layers))
    backward = np.zeros(len(net.layers))
    for _ in range(iterations):
        _time_forward(net, forward)
        net.clock.go_on()
        _time_steps(net, net.plan.backward, backward)
    return forward / iterations, backward / iterations


def _time_forward(net: Net, seconds: np.ndarray) -> None:
    first = 0
    while True:
        steps = [step for step in net.plan.forward if step.node >= first]
        try:
            _time_steps(net, steps, seconds)
            return
        except TopsChanged as change:
            first = net.follow(change, len(net.graph.nodes) - 1)


def _time_steps(net: Net, steps: Sequence[Step], seconds: np.ndarray) -> None:
    net.backend.synchronize()
    before = time.perf_counter()
    for step in steps:
        step.run()
        net.backend.synchronize()
        now = time.perf_counter()
        seconds[step.node] += now - before
        before = now


def _print_table(
    net: Net, forward: np.ndarray, backward: np.ndarray, iterations: int
) -> None:
    total = forward.sum() + backward.sum()
    width = max(len(layer.name) for layer in net.layers)
    kinds = max(len(layer.type) for layer in net.layers)
    print(f"{'layer':<{width}}  {'type':<{kinds}}  forward ms  backward ms   share")
    for layer, one, other in zip(net.layers, forward, backward, strict=True):
        share = (one + other) / total if total else 0.0
        print(
            f"{layer.name:<{width}}  {layer.type:<{kinds}}  {one * MILLISECONDS:10.3f}"
            f"  {other * MILLISECONDS:11.3f}  {share:6.1%}"
        )
    images = batch_size(net)
    print(
        f"{'total':<{width}}  {'':<{kinds}}  {forward.sum() * MILLISECONDS:10.3f}  "
        f"{backward.sum() * MILLISECONDS:11.3f}"
    )
    print(
        f"mean of {iterations} passes on {net.backend.name}: "
        f"{total * MILLISECONDS:.3f} ms for {images} images, "
        f"{images / total if total else 0:,.0f} images/s"
    )
