"""`python -m runtime`: train, test, time and check nets; list devices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext

from netspec.commands.cli import Parser, run
from netspec.commands.fork_options import add_fork_options
from netspec.weights.hdf5_file import allow_links
from runtime.cli import check, check_gradients, devices, testing, timing, train

COMMANDS = (train, testing, timing, check, check_gradients, devices)


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(prog="python -m runtime", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    for name, parser_of in commands.choices.items():
        if name != "devices":
            add_fork_options(parser_of)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parsed = build_parser().parse_args(arguments)
    linked = getattr(parsed, "allow_links", False)
    with allow_links() if linked else nullcontext():
        return run(lambda: parsed.command(parsed), parsed)


if __name__ == "__main__":
    sys.exit(main())
