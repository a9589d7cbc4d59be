"""`History`: what a training did, as numbers, tables and curves."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.habits import HISTORY, with_habits
from runtime.training.logs import Log as Log
from runtime.training.logs import read_log
from runtime.training.monitored import LOSS, among, is_better, mode_of, no_such_name
from runtime.training.records import StepRecord as StepRecord
from runtime.training.records import TestRecord as TestRecord
from runtime.training.snapshot_files import Snapshot
from runtime.training.tables import (
    Columns,
    Per,
    by_place,
    columns,
    pandas,
    per_what,
    rows_of,
    test_names,
)


class Best(NamedTuple):
    """The best value of a number, after how many iterations, and in which epoch."""

    value: float
    iteration: int
    epoch: int | None


@with_habits("history", HISTORY)
@dataclass(repr=False)
class History:
    """All records of a run, in order: of iterations, of tests, and snapshots.

    epoch_size: how many iterations an epoch has, None where there are no epochs.
    solver: the one that trained; None in a history that was read from a file, copied
        or pickled.

    A notebook shows it as curves and a table.
    """

    train: list[StepRecord] = field(default_factory=list)
    tests: list[TestRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    epoch_size: int | None = None
    solver: Any = field(default=None, compare=False)

    @property
    def net(self) -> Any:
        """The net that was trained.

        Raises `SpecError` where there is no solver.
        """
        if self.solver is None:
            raise SpecError(
                "this history has no net: it was read from a file, copied or pickled, "
                "or made by hand; use the solver, or its weights"
            )
        return self.solver.net

    # ------------------------------------------------------------ numbers

    def as_dict(self, per: Per | None = None) -> Columns:
        """Return lists of numbers by name.

        per: "epoch", the default where there are epochs: `epoch` (from 1), `iteration`
            (how many were done then), `loss` (the mean of the epoch), `lr` (the last
            one), `seconds`, and what tests found at its end: `val_` and the name of an
            output, `val_loss`, of a second test net `val1_loss`. NaN where there was
            no test. An epoch that is not over counts. "test": the same between tests.
            "iteration", the default without epochs: `loss`, `lr` and `seconds` of
            every `iteration`, and the results of tests, which were made ahead of
            `val_iteration`.
        """
        return columns(self, per_what(self, per))

    def to_pandas(self, per: Per | None = None) -> Any:
        """Return a `pandas.DataFrame` with the columns of `as_dict`.

        Its index are epochs, tests or iterations; per iteration the results of tests
        stand in the row of the iteration ahead of which they were made, else NaN.

        Raises `MachineError` without pandas.
        """
        library = pandas("History.to_pandas", "as_dict")
        what = per_what(self, per)
        if what != "iteration":
            return library.DataFrame(columns(self, what)).set_index(what)
        rows = by_place(self)
        names = ["loss", "lr", "seconds", *test_names(self.tests)]
        frame = library.DataFrame(list(rows.values()), list(rows), names, dtype=float)
        frame.index.name = what
        return frame

    def best(self, name: str = "val_loss", mode: str = "auto") -> Best:
        """Return the best value that a number had, and when.

        name: "loss", the mean of an epoch (without epochs: over `average_loss`
            iterations), or what a test found, as `as_dict` calls it. mode: "min",
            "max", or "auto", which looks at the name.

        Raises `SpecError` for a name that there is not.
        """
        places: list[tuple[int, float]]
        if name == LOSS and self.epoch_size:
            places = [(row.end, row.loss) for row in rows_of(self, "epoch")]
        elif name == LOSS:
            places = [(r.iteration + 1, r.smoothed_loss) for r in self.train]
        else:
            known = test_names(self.tests)
            if (found := among(name, known)) is None:
                raise no_such_name(name, ["loss", *known], "the name")
            rows = by_place(self).items()
            places = [(at, row[found]) for at, row in rows if found in row]
            weights = {k for record in self.tests for k in record.loss_weights}
            is_loss = found.partition("_")[2] in weights
            mode = mode_of(found, mode, is_loss=is_loss)
        mode = mode_of(name, mode)
        best: tuple[int, float] | None = None
        for at, value in places:
            if is_better(value, best[1] if best else None, mode, 0.0):
                best = at, value
        if best is None:
            raise SpecError(f"{name!r} has no value yet that is a number")
        epoch = -(-best[0] // self.epoch_size) if self.epoch_size else None
        return Best(best[1], best[0], epoch)

    # ------------------------------------------------------------ pictures

    def plot(
        self, *, smooth: int | None = None, log: bool | None = None, title: str = ""
    ) -> Any:
        """Return a `matplotlib.figure.Figure`: the losses, below them other outputs.

        smooth: over how many iterations the training loss is averaged, by default a
            fiftieth of the run; 1 draws it as it is. log: whether losses have a
            logarithmic axis, by default where they fall by orders of magnitude, or one
            value would make the others flat.

        Raises `MachineError` without matplotlib.
        """
        from runtime.training.plots import figure_of

        return figure_of(self, smooth=smooth, log=log, title=title)

    def __repr__(self) -> str:
        from runtime.training.history_looks import headline

        return f"<History: {headline(self)}>"

    def _repr_html_(self) -> str | None:
        from runtime.training.history_looks import html

        if self.solver is not None and self.solver.showing.is_shown_here():
            return None  # the same curves stand above, in the output of this cell
        return html(self)

    # ------------------------------------------------------------ files

    def write(self, path: str | Path) -> None:
        """Write all records as `Log` does."""
        with Log(path) as log:
            for record in self.train:
                log.add(record)
            for test in self.tests:
                log.add(test)

    @classmethod
    def read(cls, path: str | Path, epoch_size: int | None = None) -> History:
        """Return the records of a log, `.csv` or `.jsonl`, that a run wrote.

        Raises `FileError`.
        """
        return cls(*read_log(path), epoch_size=epoch_size)

    # ------------------------------------------------------------ for solvers

    def drop(self, iteration: int) -> None:
        """Drop what came after the snapshot of `iteration`, which is done again."""
        self.train[:] = [one for one in self.train if one.iteration < iteration]
        self.tests[:] = [one for one in self.tests if one.iteration < iteration]
        kept = [one for one in self.snapshots if one.iteration <= iteration]
        self.snapshots[:] = kept

    def of(self, solver: Any) -> History:
        """Return this, with its solver."""
        lists = self.train, self.tests, self.snapshots
        return History(*lists, epoch_size=self.epoch_size, solver=solver)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "solver": None}


class Recorder:
    """Adds records of iterations to a history, with the mean of the last losses.

    clock: returns the time in seconds.
    """

    def __init__(
        self,
        history: History,
        param: SolverParameter,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._history, self._param, self._clock = history, param, clock
        self._recent: deque[float] = deque()
        self._ended = -math.inf  # when the last record was made

    def forget(self) -> None:
        """Begin the mean anew."""
        self._recent.clear()

    def add(self, iteration: int, loss: float, lr: float, started: float) -> StepRecord:
        """Record an iteration that ends now; `started` is by the clock.

        One that was started before the last one ended has the time since then, so that
        the times of all are no more than there was.
        """
        now = self._clock()
        since, self._ended = max(started, self._ended), now
        recent, size = self._recent, self._param.average_loss
        smoothed = loss
        if size > 1 or recent:
            recent.append(loss)
            while len(recent) > max(1, size):
                recent.popleft()
            smoothed = sum(recent) / len(recent)
        record = StepRecord.__new__(StepRecord)  # as it is frozen, __init__ takes long
        record.__dict__.update(
            iteration=iteration,
            loss=loss,
            smoothed_loss=smoothed,
            lr=lr,
            seconds=now - since,
        )
        self._history.train.append(record)
        return record
