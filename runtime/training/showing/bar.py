"""A bar by tqdm, on a terminal or in a notebook."""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import Any

from netspec.errors import MachineError
from runtime.compilation import text
from runtime.training.history import History
from runtime.training.showing.lines import status, test_line
from runtime.training.showing.show import Outcome, Run, Show

BAR = "{desc}{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt}{postfix}"
INTERVAL_S = 0.1  # between two looks of the bar


class Bar(Show):
    """Shows loss, rate, speed and time left behind a bar; tests are lines above it."""

    def begin(self, run: Run) -> None:
        """Open the bar.

        Raises `MachineError` without tqdm.
        """
        self._run = run
        self._next = 0.0
        self._tests = len(run.history.tests)
        steps = None if run.known_end is None else run.end - run.first
        ends = steps is not None and steps <= 0
        self._bar = None if ends else _open(run.solver.net.name, steps)

    def look(self, doing: str = "") -> None:
        """Show what is new, now and then."""
        history: History = self._run.history
        if len(history.tests) > self._tests:
            for record in history.tests[self._tests :]:
                self._write(test_line(self._run.solver, record))
            self._tests = len(history.tests)
        if (now := time.perf_counter()) >= self._next:
            self._next = now + INTERVAL_S
            self._draw(doing)

    def compiling(self, done: int, total: int) -> None:
        """Show how many kernels are compiled."""
        self._draw(text(done, total))

    def end(self, outcome: Outcome) -> None:
        """Leave the bar as it is."""
        self._next = 0.0
        self.look()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if said := outcome.text(self._run):
            self._write(said)
        del self._run

    def _draw(self, doing: str) -> None:
        if self._bar is None:
            return
        run, bar = self._run, self._bar
        train = run.history.train
        told = status(run, train[-1]) if train and not doing else doing
        with contextlib.suppress(OSError):
            bar.set_postfix_str(told, refresh=False)
            bar.total = None if run.known_end is None else run.end - run.first
            bar.n = run.solver.iter - run.first
            bar.refresh()

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more; training goes on
            if self._bar is not None:
                self._bar.write(line)
            else:
                print(line, flush=True)


def _open(name: str, steps: int | None) -> Any:
    try:
        with warnings.catch_warnings():  # of widgets that are missing: there is text
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

            head = f"{name}: " if name else ""
            return tqdm(total=steps, bar_format=BAR, dynamic_ncols=True, desc=head)
    except ImportError as error:
        raise MachineError(
            "progress='bar' needs tqdm, which is not installed; install the extra "
            "netspec[train], or choose progress='lines'"
        ) from error
