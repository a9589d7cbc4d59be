"""How iterations of a `Solver` end, and those that are one list of calls."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from netspec.notebooks import page_shell
from runtime.interrupts import Held, held, stopped
from runtime.training.ahead import Ahead
from runtime.training.history import Recorder, StepRecord
from runtime.training.quick import Quick
from runtime.training.showing.shower import Progress
from runtime.training.solver_ranks import SolverRanks


class SolverQuick(SolverRanks):
    """What a `Solver` does where nobody is told of anything ahead of an update.

    See `runtime.training.quick`.
    """

    _quick: Quick
    _ahead: Ahead
    _recorder: Recorder
    _time: Callable[[], float]
    _running: bool
    _began = False  # whether a run has done what comes ahead of the first iteration

    def _quietly(
        self, signals: Held, *, careful: bool, lr: float | None = None
    ) -> bool:
        """Do the next iteration if nothing else runs around it; say whether.

        lr: its rate, where it was just asked for.
        """
        if (
            self.callbacks.meddle
            or self._together is not None
            or self._records.epoch_size is not None
            or self._stopping
            or self._snapshot_wanted
            or self._ahead.waiting
        ):
            return False
        started, iteration, rule = self._time(), self._iteration, self._rule
        if lr is None:
            lr = rule.rate(iteration)
        if rule.tests_at(iteration) or not self._quick.able():
            return False
        passes = iteration
        if self.counts_forward:
            passes = max(passes, self.net.clock.value)
        try:
            loss = self._quick.run(passes, lr, iteration, signals)
            if loss is not None:
                rule.step_to(iteration)
                # Not by __setattr__, which looks whether somebody mistakes a field.
                self.__dict__["_iteration"] = iteration + 1
                record = self._recorder.add(iteration, loss, lr, started)
        finally:
            signals.keep_all(False)
        if loss is None:
            self._passes = passes
            with np.errstate(all="ignore"):
                self._learn(self.net.loss(), lr, started, signals, careful=careful)
        else:
            self.callbacks.tell("on_step", record)
        return True

    def _step_quietly(self, iterations: int, progress: Progress) -> bool:
        """Do the one iteration of a run that shows nothing; say whether."""
        if (
            iterations != 1
            or type(iterations) is not int
            or progress is not None
            or not self._began
            or self._running
            or self._cut
            or not self.callbacks.idle
            or self.showing.busy
            or ("IPython" in sys.modules and page_shell() is not None)
        ):
            return False
        lr = self._rule.rate(self._iteration)
        _, snapshots, display = self._rule.around
        due = snapshots > 0 and (self._iteration + 1) % snapshots == 0
        if due or display > 0:
            return False
        self._recorder.forget()
        with held() as signals:
            try:
                done = self._quietly(signals, careful=False, lr=lr)
            except BaseException:
                self._cut = True
                raise
        self.net.rest_feed()
        if signals.interrupted:
            raise stopped(f"training stopped after iteration {self._iteration}")
        return done

    def _learn(
        self, loss: float, lr: float, started: float, signals: Held, *, careful: bool
    ) -> None:
        """Look at the loss and the gradients of an iteration, and end it."""
        if not math.isfinite(loss):
            self._tell_loss(loss, lr, careful=careful)
        self.callbacks.tell("after")
        lr = self._rule.rate_after(self._iteration, loss)
        told = loss if careful else None
        last, where = self.last_snapshot, self._spoiling_rank
        self._watch.check(self.update, self._iteration, told, last, where)
        record = signals.whole(lambda: self._end_iteration(loss, lr, started))
        if self._replicas is not None:
            self._replicas.check(self._iteration)
        self.callbacks.tell("on_step", record)
        self._heed_listeners(signals)

    def _end_iteration(self, loss: float, lr: float, started: float) -> StepRecord:
        self._rule.apply(lr, self._iteration, loss)
        if self._shared is not None:
            self._shared.look()
        self._iteration += 1
        return self._recorder.add(self._iteration - 1, loss, lr, started)
