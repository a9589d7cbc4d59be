"""Print what a net costs.

    python -m netspec.summary FILE_OR_MODEL [--phase TRAIN|TEST] [--depth N] [--json]

FILE_OR_MODEL is a prototxt, a caffemodel, or a Python file with a net. `--depth 1`
shows the modules of the outermost level as one line each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from netspec.commands.cli import Parser, named_shape, positive, run
from netspec.errors import ShapeError, SpecError
from netspec.nets import PHASES, drop_values, filter_net, merge_state
from netspec.nets.upgrade import upgrade_net
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary.report import summarize
from netspec.text import as_net


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netspec.summary",
        description="Print shapes, parameters, MACs and memory of a net.",
    )
    parser.add_argument(
        "net", metavar="FILE_OR_MODEL", help="prototxt, caffemodel, or Python file"
    )
    parser.add_argument("--phase", choices=list(PHASES), help="default: TEST")
    parser.add_argument("--level", type=int, default=0, help="level of the net state")
    parser.add_argument(
        "--stage", action="append", default=[], help="stage of the net state; repeat"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="images in a batch"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=named_shape,
        metavar="TOP=N,C,H,W",
        help="shape of the top of an Input or data layer; repeat for several",
    )
    parser.add_argument(
        "--depth", type=positive, metavar="N", help="levels of modules that are opened"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _read(
    path: str, phase: int | None, shapes: Mapping[str, Sequence[int]]
) -> tuple[NetParameter, int]:
    """Return the net and the phase to show."""
    if path.endswith(".py"):
        return _read_model(path, phase, shapes), TEST if phase is None else phase
    net = as_net(Path(path))
    drop_values(net)
    if phase is None:
        phase = _saved_phase(net) if path.endswith(".caffemodel") else TEST
    return net, phase


def _read_model(
    path: str, phase: int | None, shapes: Mapping[str, Sequence[int]]
) -> NetParameter:
    """Return the net of a Python file: for use, if no phase is named."""
    from netspec.commands.model_files import load_for_use, load_model

    if phase is None:
        try:
            return load_for_use(path, shapes)
        except ShapeError:
            pass  # it would have to be derived, and only a file tells the shape of data
    return load_model(path)


def _saved_phase(net: NetParameter) -> int:
    """Return the phase that keeps all layers: a saved net was built in one already."""
    upgraded = upgrade_net(net)
    for phase in (TEST, TRAIN):
        kept = filter_net(upgraded, merge_state(upgraded, phase))
        if len(kept.layer) == len(upgraded.layer):
            return phase
    return TEST


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)

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
            raise SpecError(f"{options.net}: {error}") from None
        shown = summary.text(options.depth and options.depth - 1)
        print(json.dumps(summary.as_dict()) if options.json else shown)

    return run(command)


if __name__ == "__main__":
    sys.exit(main())
