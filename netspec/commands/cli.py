"""What all commands share: options with one-line errors, and one way to fail.

A command ends with a clear line on standard error and a non-zero exit, never with a
traceback. Exit statuses: 0 done, 1 bad input or machine, 2 bad command line, 130
interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from netspec.commands.fork_options import fork_options
from netspec.errors import NetspecError, SpecError, did_you_mean

FAILED, USAGE, INTERRUPTED = 1, 2, 130
DEBUG_VARIABLE = "NETSPEC_DEBUG"  # when set, errors keep their traceback

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


def run(command: Callable[[], int | None], options: Any = None) -> int:
    """Run a command and return its exit status; what goes wrong becomes one line.

    options: those of its command line, with `--fork` and `--proto` where it has them.
    """
    try:
        with fork_options(options):
            status = command() or 0
        sys.stdout.flush()  # here a full disk can still be told
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has left, as `head` does: nobody wants the rest.
        _drop_output()
        return FAILED
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return _failed(_line(error), FAILED)
    return status


def _line(error: Exception) -> str:
    if isinstance(error, NetspecError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = f"out of memory: {error}" if str(error) else "out of memory"
    elif isinstance(error, OSError):
        text = error.strerror or str(error)
        text = f"{error.filename}: {text}" if error.filename else text
    else:
        text = (
            f"internal error: {type(error).__name__}: {error}; "
            f"{DEBUG_VARIABLE}=1 shows where"
        )
    return " ".join(text.split())


def _failed(line: str, status: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    print(f"error: {line}", file=sys.stderr, flush=True)
    return status


def _drop_output() -> None:
    """Point standard output to nowhere, as Python flushes it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def keep_sources(targets: Sequence[Path], sources: Sequence[str | None]) -> None:
    """Raise `SpecError` where a file that is read would be written over."""
    read = [Path(path) for path in sources if path]
    for target in targets:
        if target.exists() and any(x.exists() and target.samefile(x) for x in read):
            raise SpecError(
                f"{target} is what is read; it stays as it is. Give another OUT"
            )
