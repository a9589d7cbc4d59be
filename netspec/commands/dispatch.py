"""One command of several: only the one that is called is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from netspec.commands.cli import Parser, wrong_choice


def list_commands(
    prog: str, description: str, lines: Mapping[str, str], examples: Sequence[str]
) -> Parser:
    """Return a parser that knows the names of the commands, for help and mistakes.

    lines: what each command does.
    """
    parser = Parser(prog=prog, description=description, examples=examples)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, line in lines.items():
        commands.add_parser(name, help=line, add_help=False)
    return parser


def chosen(
    prog: str,
    description: str,
    lines: Mapping[str, str],
    arguments: Sequence[str] | None,
    examples: Sequence[str] = (),
) -> tuple[str, list[str]]:
    """Return which command a command line names, and the words behind it.

    Help and `--version` end the program, and so do, with status 2, no command and one
    that is not known.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in lines:
        _end(list_commands(prog, description, lines, examples), lines, words)
    return words[0], words[1:]


def _end(parser: Parser, lines: Mapping[str, str], words: Sequence[str]) -> NoReturn:
    if not words:
        parser.error("the following arguments are required: COMMAND")
    if words[0].startswith("-"):
        parser.parse_args(words[:1])  # help and version end here
        parser.error("expected a command first")
    parser.error(f"argument COMMAND: {wrong_choice(words[0], lines)}")
