"""`python -m runtime test`: average a net's outputs over batches of its data."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from netspec.commands.cli import positive
from netspec.errors import SpecError
from runtime.cli.compiling import Compiling
from runtime.cli.options import (
    add_allow_python,
    add_backend,
    add_model,
    add_precision,
    add_rename,
    add_state,
    add_ways,
    copy_weights,
    named_files,
    open_net,
)
from runtime.distributed import world
from runtime.distributed.communicator import several
from runtime.execution.net import Net
from runtime.training.showing.words import batch_size, duration
from runtime.training.testing import mean_outputs, shared_outputs

DEFAULT_BATCHES = 50  # as Caffe's command
LARGEST_LISTED = 100  # outputs with more numbers are summed up


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "test",
        help="score a net",
        description=__doc__,
        examples=(
            "train_val.prototxt --weights net.caffemodel --iterations 100",
            "solver.prototxt --weights head.caffemodel,trunk.caffemodel",
            "lenet --set test_source=digits_test_lmdb --weights lenet.caffemodel",
        ),
    )
    add_model(parser)
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILES",
        help="files of any format, separated by commas",
    )
    parser.add_argument(
        "--iterations",
        type=positive,
        default=DEFAULT_BATCHES,
        metavar="N",
        help=f"how many batches (default {DEFAULT_BATCHES})",
    )
    add_state(parser, "TEST")
    add_rename(parser)
    add_backend(parser)
    add_precision(parser)
    add_ways(parser)
    add_allow_python(parser)
    parser.set_defaults(command=test)


def test(options: argparse.Namespace) -> int:
    """Run the command."""
    ranks = several(world())
    net = open_net(options, keep=(), gradients=False)
    try:
        _check_fed(net)
        copy_weights([net], named_files(options.weights), options.rename)
        clock = net.backend.compilation.clock
        started = clock()
        with np.errstate(all="ignore"), Compiling(net.backend):
            if ranks is None:
                means = mean_outputs(net, options.iterations)
            else:
                means = shared_outputs(net, options.iterations, ranks)
        seconds = clock() - started
    finally:
        net.close()
    images = options.iterations * batch_size(net)
    print(
        f"{options.iterations} batches of {batch_size(net)} in {duration(seconds)} "
        f"({images / seconds:,.0f} images/s)"
    )
    for name, values in means.outputs.items():
        _print_output(name, values, means.loss_weights.get(name))
    if means.loss_weights:
        print(f"objective = {means.loss:.6g}")
    return 0


def _check_fed(net: Net) -> None:
    if net.inputs and not net.sources:
        raise SpecError(
            f"nothing feeds the net's inputs {', '.join(net.inputs)}; test needs a net "
            f"with a data layer, such as the train_val file of the same net"
        )


def _print_output(name: str, values: np.ndarray, weight: float | None) -> None:
    if values.size > LARGEST_LISTED:
        print(f"{name} {values.shape}: mean {values.mean():.6g}")
        return
    for index, value in np.ndenumerate(values):
        place = "" if values.size == 1 else str(list(index))
        weighted = "" if weight is None else f" (loss, weight {weight:g})"
        print(f"{name}{place} = {value:.6g}{weighted}")
