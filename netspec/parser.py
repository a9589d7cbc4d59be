"""The parser of all commands: errors of one line, examples, `--version`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from netspec.errors import did_you_mean

USAGE = 2  # exit status of a bad command line

_EXAMPLES = "examples:"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with `--version`.

    examples: command lines for the end of the help, without the name of the program.
    `checks` are called with the options, and return what is wrong with them, or "".
    """

    def __init__(
        self, *arguments: Any, examples: Sequence[str] = (), **options: Any
    ) -> None:
        options.setdefault("formatter_class", _Formatter)
        self.checks: list[Callable[[argparse.Namespace], str]] = []
        super().__init__(*arguments, **options)
        if examples:
            lines = [f"  {self.prog} {example}".rstrip() for example in examples]
            self.epilog = "\n".join([_EXAMPLES, *lines])
        if self.add_help:
            self.add_argument(
                "--version", action=_Version, help="show the version and exit"
            )

    def parse_known_args(  # type: ignore[no-untyped-def,override]
        self, args=None, namespace=None
    ):
        """Parse a command line, and check what options say together."""
        found, rest = super().parse_known_args(args, namespace)
        for check in self.checks:
            if wrong := check(found):
                self.error(wrong)
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is no choice, with the nearest one."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, wrong_choice(value, action.choices))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line and where the options are listed."""
        print(f"{self.prog}: error: {message} (see --help)", file=sys.stderr)
        raise SystemExit(USAGE)


class _Formatter(argparse.HelpFormatter):
    """Keeps the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


class _Version(argparse.Action):
    """Shows the version; who does not ask does not wait for it."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, help=rest.get("help")
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from netspec.version import version

        print(f"netspec {version()}")
        parser.exit()


def wrong_choice(value: object, known: Iterable[object]) -> str:
    """Return what is said of a word that is none of those that are expected."""
    words = [str(word) for word in known]
    hint = did_you_mean(str(value), words)
    return f"invalid choice: {value!r}{hint} (choose from {', '.join(words)})"


def positive(text: str) -> int:
    """Read a number above zero, for `type=` of an option."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value
