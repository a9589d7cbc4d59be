"""What all commands share: options with one-line errors, and one way to fail.

A command ends with a clear line on standard error and a non-zero exit, never with a
traceback. Exit statuses: 0 done, 1 bad input or machine, 2 bad command line, 130
interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netspec.commands.fork_options import fork_options
from netspec.errors import NetspecError, SpecError, SpecWarning
from netspec.parser import USAGE as USAGE
from netspec.parser import Parser as Parser
from netspec.parser import positive as positive
from netspec.parser import wrong_choice as wrong_choice

FAILED, INTERRUPTED = 1, 130
DEBUG_VARIABLE = "NETSPEC_DEBUG"  # when set, errors keep their traceback


ALL_LEVELS = sys.maxsize  # what `--depth all` is


def add_depth(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --depth: how many levels of modules are open, 0, 1, ... or all."""
    parser.add_argument(
        "--depth",
        type=_depth,
        default=_depth(default),
        metavar="N",
        help=f"how many levels of modules are open: 0, 1, ... or all (default "
        f"{default})",
    )


def _depth(text: str) -> int:
    if text == "all":
        return ALL_LEVELS
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0, 1, ... or all; got {text!r}")
    return int(text)


def show_warnings() -> None:
    """Show warnings as one line from now on, without the place in our code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    warnings.simplefilter("always", SpecWarning)
    warnings.showwarning = show


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
