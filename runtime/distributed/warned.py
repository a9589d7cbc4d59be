"""Warnings of a script that all ranks run: shown once, with a rank if they differ.

Rank 0 shows its own at once. What others are warned of is kept until the end, where
rank 0 shows what it had not itself.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from typing import Any, TextIO

KEPT = 200  # warnings of a rank
DEBUG_VARIABLE = "NETSPEC_DEBUG"  # with it all ranks show theirs at once


class Warned:
    """What this rank was warned of, from now on."""

    def __init__(self, rank: int) -> None:
        self._speaks = rank == 0 or bool(os.environ.get(DEBUG_VARIABLE))
        self._said: deque[str] = deque(maxlen=KEPT)
        self._show: Any = warnings.showwarning
        warnings.showwarning = self._note

    def _note(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            self._said.append(f"{filename}:{lineno}: {category.__name__}: {message}")
        if file is not None or self._speaks:
            self._show(message, category, filename, lineno, file, line)

    @property
    def said(self) -> list[str]:
        """The warnings, each on a line with its place."""
        return list(dict.fromkeys(self._said))

    @property
    def kept(self) -> list[str]:
        """Those that nobody has seen."""
        return [] if self._speaks else self.said

    def close(self) -> None:
        """Leave warnings to Python again, and forget them."""
        if warnings.showwarning == self._note:
            warnings.showwarning = self._show
        self._said.clear()
