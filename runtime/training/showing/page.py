"""A live table with curves in a notebook: one output that is brought up to date."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from netspec.errors import SpecWarning
from netspec.notebooks import page_shell, warn_user
from runtime.compilation import text
from runtime.html import Markup, escaped, line, output, table
from runtime.training.records import StepRecord, TestRecord
from runtime.training.showing.curves import Losses, curves_html
from runtime.training.showing.lines import epoch_size, epochs
from runtime.training.showing.show import Outcome, Run, Show
from runtime.training.showing.words import (
    WINDOW,
    duration,
    images_of,
    results,
    seconds_left,
    seconds_per_step,
)

REFRESH_S = 1.0  # between two states of the output while a run goes on
SHARE = 50  # of the time at most one part in so many is spent on showing
MOST_TESTS = 5  # rows of the table of tests


class Page(Show):
    """Shows the runs of one cell in one output.

    Runs of the same solver in the same cell, as a loop of `solver.step(1)`, share it;
    at the end of the cell it has the last state. `is_open` until then.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._runs = 0  # of iterations, in this output
        self._losses = Losses()

    # ------------------------------------------------------------ a run

    def begin(self, run: Run) -> None:
        """Show the output of this cell, unless it is there."""
        self._run, self._doing, self._said = run, "", ""
        if self.is_open:
            self._runs += run.kind != "test"
            self._stale = False
            return
        self._runs = int(run.kind != "test")
        self._started = time.perf_counter()
        self._id = f"netspec-{uuid.uuid4().hex}"
        self._cost = self._next = 0.0
        self._shown = self._stale = False
        self.is_open = True
        self._watch_cell()
        self._refresh()

    def look(self, doing: str = "") -> None:
        """Bring the output up to date, if that is due."""
        if time.perf_counter() >= self._next:
            self._doing = doing
            self._refresh()

    def compiling(self, done: int, total: int) -> None:
        """Show how many kernels are compiled."""
        if done == 0 or done == total:  # the first is told at once, and so is the end
            self._next = min(self._next, time.perf_counter() + SHARE * self._cost)
        self.look(text(done, total))

    def end(self, outcome: Outcome) -> None:
        """Show the last state; in a loop of short runs, at the end of the cell."""
        self._doing, self._stale = "", True
        self._said = outcome.text(self._run, "run the cell again")
        long_ago = self._next - REFRESH_S + SHARE * self._cost
        if self._said or time.perf_counter() >= long_ago or not self._watched:
            self._refresh()

    # ------------------------------------------------------------ the output

    def _watch_cell(self) -> None:
        events = getattr(page_shell(), "events", None)
        self._watched = events is not None
        if events is not None:
            events.register("post_run_cell", self._end_cell)

    def _end_cell(self, *_: Any) -> None:
        shell = page_shell()
        if shell is not None:
            shell.events.unregister("post_run_cell", self._end_cell)
        if self._stale:
            self._refresh()
        self.is_open = False
        del self._run

    def _refresh(self) -> None:
        started = time.perf_counter()
        bundle = {"text/plain": self.text(), "text/html": self.html()}
        try:
            from IPython.display import display

            display(bundle, raw=True, display_id=self._id, update=self._shown)
        except Exception as error:  # whatever it is, training is worth more
            self._next = float("inf")
            warn_user(
                f"the progress of training cannot be shown, and training goes on: "
                f"{type(error).__name__}: {error}",
                SpecWarning,
            )
            return
        self._shown, self._stale = True, False
        now = time.perf_counter()
        self._cost = now - started
        self._next = now + max(REFRESH_S, SHARE * self._cost)

    def text(self) -> str:
        """Return the state in a line."""
        parts = [f"{name} {said}" for name, said in self._figures().items()]
        if self._status():
            parts.append(self._status())
        return f"{self._title()}: {', '.join(parts)}"

    def html(self) -> str:
        """Return the state as a table, with the last tests and the curves."""
        solver = self._run.solver
        figures = self._figures()
        numbers = range(len(figures))
        body = [line(Markup(f"<b>{escaped(self._title())}</b>"))]
        if figures:
            body.append(_bar(self._share()))
            body.append(table(list(figures), [list(figures.values())], numbers))
        status = self._status()
        body.append(line(status or "done", "faint"))
        if solver.history.tests:
            body.append(tests_table(solver.history.tests, len(solver.test_nets) > 1))
        body.append(curves_html(solver.history, self._losses))
        return output(*body)

    def _title(self) -> str:
        solver = self._run.solver
        net = solver.net
        return f"{net.name or 'net'}, {solver.param.type} on {net.backend.name}"

    def _status(self) -> str:
        if self._said:
            return self._said
        if not self._stale or self._doing:
            return self._doing or "training"
        return f"done in {duration(time.perf_counter() - self._started)}"

    def _share(self) -> float | None:
        """Return how much of the run is done, or None where its end is not known."""
        run = self._run
        if self._runs > 1 or run.end <= run.first or run.known_end is None:
            return None
        return (run.solver.iter - run.first) / (run.end - run.first)

    def _figures(self) -> Mapping[str, str]:
        run = self._run
        solver, train = run.solver, run.history.train
        if not self._runs:
            return {"iteration": f"{solver.iter:,}"}
        end = run.known_end if self._runs == 1 else None
        found = {"iteration": _of(f"{solver.iter:,}", f"{end:,}" if end else "")}
        if size := epoch_size(solver):
            whole = epochs(end, size) if end else ""
            found["epoch"] = _of(epochs(solver.iter, size), whole)
        if not train:
            return found
        last = train[-1]
        found["loss"] = f"{last.loss:.4g}"
        found["smoothed loss"] = f"{_smoothed(train, solver.param):.4g}"
        found["lr"] = f"{last.lr:.4g}"
        per_step = seconds_per_step(train)
        if not per_step:
            return found
        found["images/s"] = f"{images_of(solver) / per_step:,.0f}"
        if end is not None and solver.iter < end and not self._said:
            found["time left"] = duration(seconds_left(solver, end, per_step))
        return found


def tests_table(tests: list[TestRecord], several: bool) -> Markup:
    """Return the last tests as a table, the newest first.

    several: whether there are several test nets, so that each row says which.
    """
    last = tests[-MOST_TESTS:][::-1]
    names = list(dict.fromkeys(name for record in last for name in record.outputs))
    heads = ["test at", *(["net"] if several else []), *names]
    rows = []
    for record in last:
        said = results(record)
        which = [str(record.net)] if several else []
        values = [said.get(name, "") for name in names]
        rows.append([f"{record.iteration:,}", *which, *values])
    return table(heads, rows, range(len(heads)))


def _smoothed(train: list[StepRecord], param: Any) -> float:
    """Return the mean of the last losses: of `average_loss`, or of a fiftieth."""
    if param.average_loss > 1:
        return train[-1].smoothed_loss
    last = train[-max(1, min(WINDOW, len(train) // 50)) :]
    return sum(record.loss for record in last) / len(last)


def _of(done: str, end: str) -> str:
    return f"{done} of {end}" if end else done


def _bar(share: float | None) -> Markup:
    if share is None:
        return Markup("")
    return Markup(
        '<div style="max-width: 460px; height: 4px; margin: 0.4em 0; '
        'background: rgba(128, 128, 128, 0.25)"><div style="height: 100%; '
        f'background: #4a90e2; width: {100 * share:.1f}%"></div></div>'
    )
