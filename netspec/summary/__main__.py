"""Print what a net costs.

    python -m netspec.summary FILE_OR_MODEL [--phase TRAIN|TEST] [--depth N] [--json]

FILE_OR_MODEL is a prototxt, a caffemodel, or a Python file with a net. `--depth 1`
shows the modules of the outermost level as one line each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from netspec.commands.cli import Parser, positive, run
from netspec.commands.net_argument import (
    add_net_argument,
    add_shape_option,
    is_model_file,
    read_net_argument,
)
from netspec.errors import ShapeError, SpecError
from netspec.nets.current import current
from netspec.nets.filter import kept_layers, merge_state
from netspec.nets.phases import PHASES, phases_with_data
from netspec.reading.located import located
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary.report import summarize


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Print shapes, parameters, MACs and memory of a net.",
    )
    add_net_argument(parser, metavar="FILE_OR_MODEL")
    parser.add_argument(
        "--phase",
        choices=list(PHASES),
        help="default: TEST, or TRAIN where only that has a data layer",
    )
    parser.add_argument("--level", type=int, default=0, help="level of the net state")
    parser.add_argument(
        "--stage", action="append", default=[], help="stage of the net state; repeat"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="images in a batch"
    )
    add_shape_option(parser, looking=True)
    parser.add_argument(
        "--depth", type=positive, metavar="N", help="levels of modules that are opened"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _read(
    path: str, phase: int | None, shapes: Mapping[str, Sequence[int]]
) -> tuple[NetParameter, int]:
    """Return the net and the phase to show: if none is named, the net for use."""
    if phase is None and is_model_file(path):
        try:
            return read_net_argument(path, deploy=True, shapes=shapes), TEST
        except ShapeError:
            pass  # it would have to be derived, and only a file tells the shape of data
    net = read_net_argument(path, shapes=shapes)
    if phase is None:
        saved = path.endswith(".caffemodel")
        phase = _saved_phase(net) if saved else phases_with_data(current(net))[0]
    return net, phase


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
        given = PHASES.get(options.phase)
        net, phase = _read(options.net, given, shapes)
        try:
            summary = summarize(
                net,
                phase,
                level=options.level,
                stages=options.stage,
                batch_size=options.batch_size,
                shapes=shapes,
            )
        except SpecError as error:
            told = located(error, options.net)
            raise (
                told if told is not error else SpecError(f"{options.net}: {error}")
            ) from None
        shown = summary.text(options.depth and options.depth - 1)
        print(json.dumps(summary.as_dict()) if options.json else shown)

    return run(command, options)


if __name__ == "__main__":
    sys.exit(main())
