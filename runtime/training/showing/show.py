"""What shows a run, and how it ended; those here show nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from typing import Any

NO_END = 2**31 - 1  # iterations, of a run whose end the data tell


@dataclass
class Run:
    """One call of `step`, `solve` or `test`: iterations from `first` up to `end`.

    An `end` of `NO_END` is not known yet. history: the records of the solver, which
    grow.
    """

    solver: Any
    kind: str
    first: int
    end: int
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Hold the history, which a solver makes anew where nobody has it."""
        self.history = self.solver.history

    @property
    def known_end(self) -> int | None:
        """The iteration at which it ends, or None where nobody knows yet."""
        return None if self.end >= NO_END else self.end


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `error` ended it, or it was `stopped` ahead of its end."""

    error: BaseException | None = None
    interrupted: bool = False
    stopped: bool = False

    def text(self, run: Run, again: str = "run it again") -> str:
        """Return it in words."""
        done = run.solver.iter
        if self.interrupted:
            where = f"after iteration {done}" if run.kind != "test" else "while testing"
            return f"stopped {where}; {again} to go on"
        if self.error is not None:
            said = str(self.error).partition("\n")[0]
            return (
                f"ended after iteration {done} by {type(self.error).__name__}: {said}"
            )
        if self.stopped:
            return f"stopped after iteration {done}, ahead of {run.end}"
        return ""


class Show:
    """Shows a run: it is asked to look between iterations, and reads the history.

    always: whether it was asked for, so that it shows something whatever the solver's
    `display` is.
    """

    always = False
    # Whether it is told of kernels that are compiled; else a terminal shows a line.
    listens = True

    def begin(self, run: Run) -> None:
        """Begin a run."""

    def wants(self, iteration: int) -> bool:
        """Say whether the record of an iteration, and its blobs, are needed at once."""
        return False

    def look(self, doing: str = "") -> None:
        """See what is new. doing: what goes on between iterations, as a test."""

    def compiling(self, done: int, total: int) -> None:
        """Tell how many of how many kernels are compiled; the end is `total`."""

    def end(self, outcome: Outcome) -> None:
        """End the run."""


class Nothing(Show):
    """Shows nothing but a line while kernels are compiled, where somebody sees it."""

    listens = False


def is_terminal() -> bool:
    """Say whether standard error is a terminal."""
    stream = sys.stderr
    with contextlib.suppress(AttributeError, ValueError):  # there is none, or closed
        return stream.isatty()
    return False
