"""Progress of training: a bar on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import Any

from runtime.cli.compiling import Compiling
from runtime.compilation import show_on_terminal
from runtime.training.history import StepRecord, TestRecord
from runtime.training.showing.bar import BAR
from runtime.training.showing.lines import LINE_INTERVAL_S
from runtime.training.showing.show import NO_END
from runtime.training.showing.words import WINDOW, describe, duration, images_of
from runtime.training.snapshot_files import Snapshot
from runtime.training.solver import Solver

DEFAULT_COLUMNS, DEFAULT_LINES = 80, 24  # of a terminal that does not know its size


class Progress:
    """Shows the steps, tests and snapshots of `solver` until `max_iter`."""

    def __init__(self, solver: Solver, *, steps: bool = True) -> None:
        self._solver = solver
        self._images = images_of(solver)
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._steps = steps
        self._mute = False
        self._bar = self._open_bar() if steps else None
        self._next_line = time.monotonic()
        self._compiling = Compiling(solver.net.backend, self._show_compiling)
        self._compiling.__enter__()
        solver.on_step(self._step)
        solver.on_test(self._test)
        solver.on_snapshot(self._snapshot)

    @property
    def _total(self) -> int | None:
        """How many iterations there are; None as long as the data have not told."""
        total = int(self._solver.param.max_iter)
        return None if total >= NO_END else total

    def close(self) -> None:
        """Leave the terminal as it should be."""
        self._compiling.__exit__(None, None, None)
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        try:
            if self._bar is not None:
                self._bar.write(line)
            elif not self._mute:
                print(line, flush=True)
        except OSError:
            # Whoever read our lines is gone, or their disk is full; training goes on.
            self._mute = True

    def _open_bar(self) -> Any:
        if not sys.stderr.isatty():
            return None
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        size = os.get_terminal_size(sys.stderr.fileno())
        known = size.columns > 0
        return tqdm(
            total=self._total,
            initial=self._solver.iter,
            bar_format=BAR,
            leave=False,
            dynamic_ncols=known,
            ncols=None if known else DEFAULT_COLUMNS,
            nrows=None if size.lines else DEFAULT_LINES,
        )

    def _show_compiling(self, text: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        else:
            show_on_terminal(text)

    def _step(self, record: StepRecord) -> None:
        self._recent.append(record.seconds)
        if self._bar is not None:
            self._bar.set_postfix_str(self._status(record), refresh=False)
            self._bar.total = self._total
            self._bar.update(1)
        elif self._steps and self._line_is_due(record):
            whole = "" if self._total is None else f"/{self._total}"
            self.say(f"iteration {record.iteration + 1}{whole}: {self._status(record)}")

    def _line_is_due(self, record: StepRecord) -> bool:
        done, display = record.iteration + 1, self._solver.param.display
        if done == self._solver.param.max_iter:
            return True
        if display > 0:
            return done % display == 0
        now = time.monotonic()
        if now < self._next_line:
            return False
        self._next_line = now + LINE_INTERVAL_S
        return True

    def _status(self, record: StepRecord) -> str:
        status = f"loss {record.smoothed_loss:.4g}, lr {record.lr:.4g}"
        if not self._recent:
            return status
        per_step = sum(self._recent) / len(self._recent)
        status = f"{status}, {self._images / per_step:,.0f} images/s"
        if self._total is None:
            return status
        left = (self._total - record.iteration - 1) * per_step
        return f"{status}, {duration(left)} left"

    def _test(self, record: TestRecord) -> None:
        several = len(self._solver.test_nets) > 1
        which = f" of net {record.net}" if several else ""
        self.say(
            f"test{which} at iteration {record.iteration}: "
            f"{describe(record)} ({duration(record.seconds)})"
        )

    def _snapshot(self, snapshot: Snapshot) -> None:
        self.say(f"snapshot at iteration {snapshot.iteration}: {snapshot.state}")
