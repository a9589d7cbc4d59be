"""Write the net of a Python file as prototxt or binary.

    python -m netspec.export FILE.py [-o OUT] [--deploy] [--phase TRAIN|TEST]
        [--batch-size N] [--set name=value ...] [--net function] [--shape TOP=N,C,H,W]

A model file has a function that returns a `NetSpec` or a `NetParameter`: the one named
like the file (`lenet` in `lenet.py`), `net`, or its only public one. `--deploy` calls
the function `deploy` of the file instead, or sets the parameter `deploy` where the net
function has one; where there is neither, it derives the net for use from that for
training (`netspec.deploy`). `--net` calls any other function. A `NetSpec` at the top of
the file does as well. `--set` and `--batch-size` set parameters of the function.
`--phase` keeps the layers of one phase and drops the rules.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from netspec.commands.cli import Parser, positive, run
from netspec.commands.model_files import load_model
from netspec.commands.net_argument import add_shape_option
from netspec.errors import SpecWarning
from netspec.nets.phases import PHASES
from netspec.text import to_text, write_message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)

    def command() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always", SpecWarning)
            warnings.showwarning = _show_warning
            net = load_model(
                options.file,
                net=options.net,
                deploy=options.deploy,
                phase=PHASES.get(options.phase),
                batch_size=options.batch_size,
                settings=options.set,
                shapes=dict(options.shape),
            )
        if options.output is None:
            sys.stdout.write(to_text(net))
        else:
            write_message(options.output, net)

    return run(command)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netspec.export",
        description="Write the net of a Python file as prototxt or binary.",
    )
    parser.add_argument("file", metavar="FILE.py", help="a file with a net function")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file to write; .caffemodel, .binaryproto and .pb are binary; without it "
        "prototxt goes to standard output",
    )
    parser.add_argument(
        "--deploy", action="store_true", help="the net for use, without data and losses"
    )
    parser.add_argument(
        "--phase", choices=list(PHASES), help="keep the layers of one phase only"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="set parameter batch_size"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set any parameter of the net function; repeat for several",
    )
    add_shape_option(parser, only="with --deploy: ")
    parser.add_argument("--net", metavar="FUNCTION", help="the function to call")
    return parser


if __name__ == "__main__":
    sys.exit(main())
