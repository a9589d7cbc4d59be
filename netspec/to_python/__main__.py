"""Write a net as Python source.

    python -m netspec.to_python NET [-o FILE.py]

NET is a file with a net, a model file in Python, the name of a model, or a solver file,
for its net. The source has a function
`net` that returns the net. Repeated parts are functions, repeated options constants;
that it makes the same net is checked before it is written. Values of parameters are
left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.cli import Parser, keep_sources, run
from netspec.commands.net_argument import (
    add_deploy,
    add_net_argument,
    add_shape_option,
    given_net,
)
from netspec.files import replacing
from netspec.to_python.source import python_source


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.to_python"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_args(arguments)

    def command() -> None:
        given = given_net(options, deploy=options.deploy)
        source = python_source(given.net)
        if options.output is None:
            sys.stdout.write(source)
            return
        keep_sources([Path(options.output)], [options.net, given.source])
        with replacing(options.output) as file:
            file.write(source.encode())
        print(options.output)

    return run(command, options)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Write a net as Python source, repeated parts as functions.",
        examples=(
            "train_val.prototxt",
            "deploy.prototxt -o net.py",
            "solver.prototxt --deploy -o net.py",
        ),
    )
    add_net_argument(parser)
    add_deploy(parser, "write")
    add_shape_option(parser, only="with --deploy: ")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.py",
        help="file to write; without it the source goes to standard output",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
