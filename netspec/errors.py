"""Every error that this project raises on purpose.

The tree is shallow and groups errors by what the caller can do: `SpecError` is bad
input (a `ValueError`), `FileError` a file that cannot be read or written (an
`OSError`), `MachineError` something that this machine lacks (a `RuntimeError`).
Catch `NetspecError` for all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice

# Comparing takes 20 microseconds a word; a hostile file has any number of long ones.
MAX_WORD, MAX_KNOWN = 200, 5000


class NetspecError(Exception):
    """Base of every error of this project."""


class SpecError(NetspecError, ValueError):
    """Bad input: a net, a solver or an argument that cannot mean anything."""


class TextError(SpecError):
    """Text that is not a valid message; knows `file`, `line` and `column` (from 1)."""

    def __init__(self, message: str, *, file: str, line: int, column: int) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")
        self.file = file
        self.line = line
        self.column = column


class ShapeError(SpecError):
    """Shapes that cannot meet."""


class UnknownShape(ShapeError):
    """A shape that nobody here knows: it is in a file, or in a layer's own code."""


class UnsupportedError(SpecError):
    """A layer type or field that is valid but has no arithmetic here."""


class SpecWarning(UserWarning):
    """Something in a spec that is allowed but hardly meant."""


class FileError(NetspecError, OSError):
    """A file that is missing, broken, or cannot be written."""


class MachineError(NetspecError, RuntimeError):
    """Something that this machine lacks: a device, a library, memory."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest known spelling, or `""`."""
    if len(word) > MAX_WORD:
        return ""
    by_folded = {name.lower(): name for name in islice(known, MAX_KNOWN)}
    near = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


MAX_TOLD = 20  # mistakes are written out; a broken file may have any number


def join(mistakes: Sequence[str]) -> str:
    """Return one message of several mistakes; it tells the first of very many."""
    if len(mistakes) == 1:
        return mistakes[0]
    told = mistakes[:MAX_TOLD]
    listed = "; ".join(f"({i}) {text}" for i, text in enumerate(told, 1))
    more = len(mistakes) - len(told)
    rest = f"; and {more:,} more" if more else ""
    return f"{len(mistakes):,} mistakes: {listed}{rest}"
