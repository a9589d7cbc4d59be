"""Telling that kernels are compiled, which happens once and takes a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from runtime.primitives import Primitives
from runtime.training.showing.show import compiling_text, show_on_terminal


class Compiling:
    """Tells on a terminal how many kernels are compiled, and takes the time of it.

    show: what shows a text in the place of the last one; an empty one is the end. By
    default it is a line of standard error that goes again, if that is a terminal.
    `seconds` is how long it took so far; nothing is told where all kernels are ready.
    """

    def __init__(
        self, backend: Primitives, show: Callable[[str], None] | None = None
    ) -> None:
        self.seconds = 0.0
        self._taken = 0.0
        self._since: float | None = None
        self._backend = backend
        self._show = show or show_on_terminal

    def __enter__(self) -> Compiling:
        self._backend.told_of_compiling = self._told
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._backend.told_of_compiling = None
        if self._since is not None:  # an error came in between
            self._show("")

    def take(self) -> float:
        """Return the seconds since this was asked the last time."""
        seconds, self._taken = self.seconds - self._taken, self.seconds
        return seconds

    def _told(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = None if done == total else now
        self._show("" if done == total else compiling_text(done, total))
