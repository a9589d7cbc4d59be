"""Telling that kernels are compiled, which happens once, and taking the time of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from netspec.notebooks import page_shell

# Takes how many of how many are compiled, from 0 on; it is over where they are equal.
Listener: TypeAlias = Callable[[int, int], None]

CLEAR_LINE = "\r\x1b[K"
PATIENCE_S = 1.0  # of silence, where few kernels are missing
MANY = 4  # kernels that are sure to take longer


class Compilation:
    """What a backend compiles, and loads that was compiled: how long, and who is told.

    seconds: what it took so far. Whoever does it is within `taking_time`, and calls
    `tell` where it knows how many there are. Those that `listen` are told; without
    any, `Line` is shown where somebody sees it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0
        self._depth = 0
        self._listeners: list[Listener] = []
        self._told: tuple[int, int] | None = None
        self._line = Line()

    def clock(self) -> float:
        """Return the time in seconds, of a clock that stands meanwhile."""
        now = time.perf_counter()
        return (self._since if self._depth else now) - self.seconds

    @contextlib.contextmanager
    def taking_time(self) -> Iterator[None]:
        """Count the time of a block; at its end it is told that all is over."""
        if self._depth == 0:
            self._since = time.perf_counter()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.seconds += time.perf_counter() - self._since
                if self._told is not None and self._told[0] < self._told[1]:
                    self.tell(self._told[1], self._told[1])

    def tell(self, done: int, total: int) -> None:
        """Tell how many of how many kernels are compiled."""
        self._told = (done, total)
        for listener in self._listeners or [self._line]:
            listener(done, total)

    @contextlib.contextmanager
    def listen(self, listener: Listener) -> Iterator[None]:
        """Let `listener` be told, in the place of the line, during a block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


class Line:
    """A line on standard error that goes again, where it is a terminal.

    In a notebook it stays, and says how many kernels there were. It comes after a
    second; at once where there are many.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Show how many of how many kernels are compiled."""
        now = time.perf_counter()
        if done == 0:
            self._began, self._shown = now, False
        if done < total:
            if total >= MANY or now - self._began > PATIENCE_S:
                self._shown = True
                _write(f"{_clear()}{text(done, total)}")
        elif self._shown:
            self._shown = False
            took = f"compiled {total} kernels once, in {now - self._began:.0f} s"
            _write(_clear() if _on_terminal() else f"\r{took:<{WIDTH}}\n")


WIDTH = 50  # of the line in a notebook, which cannot be cleared


def text(done: int, total: int) -> str:
    """Return what is shown of a compilation; nothing at its end."""
    return "" if done == total else f"compiling kernels once, {done} of {total}"


def show_on_terminal(shown: str) -> None:
    """Show a text on standard error in the place of the last one, on a terminal."""
    if _on_terminal():
        _write(f"{CLEAR_LINE}{shown}")


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _clear() -> str:
    return CLEAR_LINE if _on_terminal() else "\r"


def _write(shown: str) -> None:
    if not (_on_terminal() or page_shell()):
        return
    with contextlib.suppress(OSError):  # the terminal is gone; the work goes on
        print(shown, end="", file=sys.stderr, flush=True)
