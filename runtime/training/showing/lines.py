"""Lines now and then, or one an epoch, where there is neither terminal nor notebook."""

from __future__ import annotations

import time
from typing import Any

from runtime.compilation import show_on_terminal, text
from runtime.training.records import StepRecord
from runtime.training.showing.show import Outcome, Run, Show
from runtime.training.showing.words import (
    describe,
    duration,
    images_of,
    seconds_left,
    seconds_per_step,
)

LINE_INTERVAL_S = 5.0  # between lines, for a solver without epochs
SHOWN_S = 1.0  # of compiling, which is left out of the time of a line


class Lines(Show):
    """Prints how training goes: a line an epoch, or every few seconds."""

    def begin(self, run: Run) -> None:
        """Begin a run."""
        self._run = run
        history = run.history
        self._steps, self._tests = len(history.train), len(history.tests)
        self._next = time.monotonic() + LINE_INTERVAL_S
        self._said = run.first  # iterations that the last line was about
        self._compilation = run.solver.net.backend.compilation
        self._since = self._compilation.clock()
        self._compiled = self._compilation.seconds
        self._broken = False

    def wants(self, iteration: int) -> bool:
        """Say whether an iteration ends an epoch."""
        size = epoch_size(self._run.solver)
        return size is not None and (iteration + 1) % size == 0

    def look(self, doing: str = "") -> None:
        """Print what is new."""
        run = self._run
        history = run.history
        for record in history.tests[self._tests :]:
            self.say(test_line(run.solver, record))
        self._tests = len(history.tests)
        if not history.train or history.train[-1].iteration < self._said:
            return
        last = history.train[-1]
        if epoch_size(run.solver) is None:
            due = time.monotonic() >= self._next
        else:
            due = self.wants(last.iteration)
        if due:
            self._tell(last)

    def compiling(self, done: int, total: int) -> None:
        """Tell once that kernels are compiled, and how far that is on a terminal."""
        if done == 0:
            self.say(text(done, total))
        else:
            show_on_terminal(text(done, total))

    def end(self, outcome: Outcome) -> None:
        """Print the last line."""
        self.look()
        train = self._run.history.train
        if train and train[-1].iteration >= self._said:
            self._tell(train[-1])
        if said := outcome.text(self._run):
            self.say(said)
        del self._run

    def say(self, line: str) -> None:
        """Print a line; whoever read them may be gone, and training goes on."""
        if not self._broken:
            try:
                print(line, flush=True)
            except OSError:
                self._broken = True

    def _tell(self, record: StepRecord) -> None:
        run, now = self._run, self._compilation.clock()
        done = record.iteration + 1
        size, end = epoch_size(run.solver), run.known_end
        where, whole = f"iteration {done}", f"{end}"
        if size is not None:
            where = f"epoch {epochs(done, size)}"
            whole = epochs(end, size) if end else ""
        where = f"{where} of {whole}" if end else where
        took = duration(now - self._since)
        compiled = self._compilation.seconds - self._compiled
        if compiled >= SHOWN_S:
            took = f"{took}, and {duration(compiled)} for compiling kernels once"
        self.say(f"{where}: {status(run, record)} ({took})")
        self._said, self._since = done, now
        self._compiled = self._compilation.seconds
        self._next = time.monotonic() + LINE_INTERVAL_S


def epoch_size(solver: Any) -> int | None:
    """Return how many iterations an epoch has, or None without epochs."""
    size = getattr(solver, "epoch_size", None)
    return int(size) if size else None


def epochs(iterations: int, size: int) -> str:
    """Return how many epochs a number of iterations is."""
    return f"{iterations / size:.2f}".rstrip("0").rstrip(".")


def status(run: Run, record: StepRecord) -> str:
    """Return loss, rate, speed and time left in a line."""
    said = f"loss {record.smoothed_loss:.4g}, lr {record.lr:.4g}"
    per_step = seconds_per_step(run.history.train)
    if not per_step:
        return said
    said = f"{said}, {images_of(run.solver) / per_step:,.0f} images/s"
    if run.known_end is None or run.solver.iter >= run.end:
        return said
    return f"{said}, {duration(seconds_left(run.solver, run.end, per_step))} left"


def test_line(solver: Any, record: Any) -> str:
    """Return the results of a test in a line."""
    several = len(solver.test_nets) > 1
    which = f" of net {record.net}" if several else ""
    return (
        f"test{which} at iteration {record.iteration}: {describe(record)} "
        f"({duration(record.seconds)})"
    )
