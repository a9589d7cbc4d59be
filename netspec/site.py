"""Where in the user's file a call stands."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import CodeType
from typing import Any

from netspec.errors import SpecWarning
from netspec.notebooks import cell_name

# This package, and the library that enters its context managers.
_OURS = frozenset((__name__.partition(".")[0], "contextlib"))


class Site:
    """A place in a Python file, or in a cell of a notebook.

    The line is looked up when it is asked for: finding it takes time in proportion to
    the length of the function, which for a script of many layers would be quadratic.
    """

    __slots__ = ("_code", "_instruction")

    def __init__(self, code: CodeType, instruction: int) -> None:
        self._code = code
        self._instruction = instruction

    @property
    def file(self) -> str:
        """The path of the file, relative to the current folder where it is below.

        Of a cell, its name as IPython has it: `Cell In[19]`.
        """
        path = self._code.co_filename
        return cell_name(path) or shown_path(path)

    @property
    def line(self) -> int:
        """The line, from 1."""
        for start, end, line in self._code.co_lines():
            if start <= self._instruction < end and line is not None:
                return line
        return self._code.co_firstlineno

    def __str__(self) -> str:
        file = self.file
        if file.startswith("Cell In["):
            return f"{file}, line {self.line}"
        return f"{file}:{self.line}"

    def __reduce__(self) -> tuple[Any, ...]:
        return FixedSite, (self.file, self.line)


class FixedSite(Site):
    """A place whose line is known already."""

    __slots__ = ("_file", "_line")

    def __init__(self, file: str, line: int) -> None:
        self._file = file
        self._line = line

    @property
    def file(self) -> str:
        """The path of the file."""
        return self._file

    @property
    def line(self) -> int:
        """The line, from 1."""
        return self._line


def user_site() -> Site:
    """Return the innermost place outside this package on the current stack."""
    frame = sys._getframe(1)  # noqa: SLF001
    while (
        frame.f_globals.get("__name__", "").partition(".")[0] in _OURS
        and frame.f_back is not None
    ):
        frame = frame.f_back
    return Site(frame.f_code, frame.f_lasti)


def warn_at(site: Site, text: str) -> None:
    """Give a `SpecWarning` of a place in the user's file."""
    warnings.warn_explicit(text, SpecWarning, filename=site.file, lineno=site.line)


def shown_path(path: str) -> str:
    """Return `path` relative to the current folder if it is below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path
