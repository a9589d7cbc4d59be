"""Write a net with modules as a plain one.

    python -m netspec.flatten FILE [-o OUT]

Every use of a module becomes the layers that it stands for; the language is described
in docs/modules-in-text.md. What is written is ordinary Caffe, and the same as the net
itself where that has no modules.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.cli import Parser, run
from netspec.commands.fork_options import add_fork_options
from netspec.text import read_net, to_text, warn_unread, write_message


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.flatten"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_args(arguments)

    def command() -> None:
        net = read_net(options.file)
        if options.output is None:
            warn_unread(net, options.file)
            sys.stdout.write(to_text(net))
        else:
            write_message(options.output, net, source=options.file)

    return run(command, options)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Write a net with modules as a plain one.",
    )
    parser.add_argument("file", type=Path, help="a .prototxt with modules")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file to write; .caffemodel, .binaryproto and .pb are binary; without it "
        "prototxt goes to standard output",
    )
    add_fork_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
