"""Write a net with modules as a plain one.

    python -m netspec.flatten NET [-o OUT]

Every use of a module becomes the layers that it stands for; the language is described
in docs/modules-in-text.md. What is written is ordinary Caffe, and the same as the net
itself where that has no modules.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.cli import Parser, keep_sources, run
from netspec.commands.net_argument import (
    add_net_argument,
    file_of,
    given_net,
    is_model_file,
    refuse_settings,
)
from netspec.text import is_solver_file, read_net, to_text, warn_unread, write_message


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.flatten"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_args(arguments)

    def command() -> None:
        name = file_of(options.net)
        if is_model_file(name) or is_solver_file(name):
            given = given_net(options)
            net, source = given.net, given.source
        else:
            refuse_settings(options)
            net, source = read_net(name), name
        if options.output is None:
            warn_unread(net, source)
            sys.stdout.write(to_text(net))
            return
        keep_sources([Path(options.output)], [options.net, source])
        write_message(options.output, net, source=source)
        print(options.output)

    return run(command, options)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Write a net with modules as a plain one.",
        examples=(
            "modules.prototxt -o train_val.prototxt",
            "net.caffemodel --fork rfcn-priv -o net.prototxt",
        ),
    )
    add_net_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file to write; .caffemodel, .binaryproto and .pb are binary; without it "
        "prototxt goes to standard output",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
