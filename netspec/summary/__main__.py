"""Print what a net costs.

    python -m netspec.summary NET [--phase TRAIN|TEST] [--depth N] [--json]

NET is a file with a net, a model file in Python, the name of a model, or a solver file.
`--depth 0` shows the modules of the outermost level as one line each, `--depth 1` what
is in them, and so on; without it all is shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from netspec.commands.cli import ALL_LEVELS, Parser, add_depth, run
from netspec.commands.net_argument import (
    GivenNet,
    add_batch_size,
    add_deploy,
    add_memory_limit,
    add_micro_batch,
    add_net_argument,
    add_shape_option,
    add_state_options,
    file_of,
    given_net,
    is_model_file,
)
from netspec.errors import ShapeError, SpecError
from netspec.nets.current import current
from netspec.nets.filter import kept_layers, merge_state
from netspec.nets.phases import PHASES, phases_with_data
from netspec.reading.located import located
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary.report import summarize
from netspec.text import is_solver_file


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Print shapes, parameters, MACs and memory of a net.",
        examples=(
            "train_val.prototxt",
            "googlenet --depth 0",
            "net.py --set depth=18 --phase TRAIN --batch-size 64",
            "solver.prototxt --json",
        ),
    )
    add_net_argument(parser)
    add_state_options(
        parser,
        phase_help="TRAIN or TEST; default: TEST, or TRAIN where only that has a data "
        "layer",
    )
    add_batch_size(parser)
    add_shape_option(parser, looking=True)
    add_depth(parser, "all")
    add_deploy(parser, "show")
    add_memory_limit(parser)
    add_micro_batch(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _read(options: argparse.Namespace) -> tuple[GivenNet, int]:
    """Return the net and the phase to show: if none is named, the net for use."""
    phase = PHASES.get(options.phase)
    given_for_training = options.memory_limit, options.micro_batch
    if phase is None and given_for_training != (None, None):
        phase = TRAIN  # which they are of
    if options.deploy:
        return given_net(options, deploy=True, batches=False), TEST
    name = file_of(options.net)
    if phase is None and is_model_file(name):
        try:
            return given_net(options, deploy=True, batches=False), TEST
        except ShapeError:
            pass  # it would have to be derived, and only a file tells the shape of data
    given = given_net(options, phase=phase, batches=False)
    if phase is None:
        if given.source.endswith(".caffemodel"):
            phase = _saved_phase(given.net)
        else:
            phase = phases_with_data(current(given.net))[0]
        if is_solver_file(name):  # which may have another net, or state, for the phase
            given = given_net(options, phase=phase, batches=False)
    return given, phase


def _saved_phase(net: NetParameter) -> int:
    """Return the phase that keeps all layers: a saved net was built in one already."""
    saved = current(net)
    for phase in (TEST, TRAIN):
        if len(kept_layers(saved, merge_state(saved, phase))) == len(saved.layer):
            return phase
    return TEST


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.summary"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_args(arguments)

    def command() -> None:
        shapes = dict(options.shape)
        given, phase = _read(options)
        try:
            summary = summarize(
                given.shown,
                phase,
                level=given.level,
                stages=given.stages,
                batch_size=options.batch_size,
                shapes=shapes,
                memory_limit=options.memory_limit,
                micro_batch=options.micro_batch,
            )
        except SpecError as error:
            told = located(error, given.source)
            raise (
                told if told is not error else SpecError(f"{options.net}: {error}")
            ) from None
        depth = None if options.depth == ALL_LEVELS else options.depth
        print(json.dumps(summary.as_dict()) if options.json else summary.text(depth))

    return run(command, options)


if __name__ == "__main__":
    sys.exit(main())
