"""Write a net as Python source.

    python -m netspec.to_python NET [-o FILE.py]

NET is a prototxt, a binary file or a model file in Python. The source has a function
`net` that returns the net. Repeated parts are functions, repeated options constants;
that it makes the same net is checked before it is written. Values of parameters are
left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from netspec.commands.cli import Parser, run
from netspec.commands.net_argument import add_net_argument, read_net_argument
from netspec.files import replacing
from netspec.to_python.source import python_source


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.to_python"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_args(arguments)

    def command() -> None:
        source = python_source(read_net_argument(options.net))
        if options.output is None:
            sys.stdout.write(source)
            return
        with replacing(options.output) as file:
            file.write(source.encode())

    return run(command, options)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Write a net as Python source, repeated parts as functions.",
    )
    add_net_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.py",
        help="file to write; without it the source goes to standard output",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
