"""The tests that a `Solver` runs while it trains, or when it is asked to."""

from __future__ import annotations

from runtime.distributed import Communicator
from runtime.distributed.communicator import doing
from runtime.interrupts import Held, held, stopped
from runtime.training.doubts import YoungStatistics
from runtime.training.history import TestRecord
from runtime.training.showing.shower import Progress, Shower
from runtime.training.solver_files import SolverFiles
from runtime.training.testing import run_tests


class SolverTests(SolverFiles):
    """How a `Solver` tests its nets."""

    showing: Shower
    young: YoungStatistics
    communicator: Communicator | None

    def test(self, *, progress: Progress = None) -> list[TestRecord]:
        """Run every test net over its `test_iter` batches and record the means.

        progress: see `step`.

        Which batches these are depends on `iter` only, not on what was tested before.
        `stop` and Ctrl-C end it after a batch, and then nothing is recorded.
        """
        show = self.showing.run(self, "test", 0, progress)
        with held() as signals, show.until(signals):
            records = self._test(signals)
        if not self.callbacks.runs:
            self._stopping = self._stop_asked = False
        if signals.interrupted:
            raise stopped("the test was stopped, and nothing of it is recorded")
        return records or []

    def _test(self, signals: Held) -> list[TestRecord] | None:
        """Test, or return None if it was left."""
        with (
            doing(self.communicator, f"a test at iteration {self._iteration}"),
            self.statistics.averaged(),
        ):
            return self._run_tests(signals)

    def _run_tests(self, signals: Held) -> list[TestRecord] | None:
        def leaves() -> bool:
            asked = self._stopping or self._stop_asked
            return self.showing.leaves_test() or asked or signals.stops()

        given = (self.test_nets, self.param, self._iteration)
        records = run_tests(*given, leaves, self.communicator)
        if records is None:
            return None
        tested = [self.test_nets[record.net] for record in records]
        self.young.look(tested, self._iteration * self.param.iter_size)
        for record in records:
            self._records.tests.append(record)
            self.callbacks.tell_at(self._iteration, "on_test", record)
        self.showing.look()
        return records

    def _test_due(self, signals: Held) -> bool:
        """Do the tests that are due, or return False if they were left."""
        if (records := self._test(signals)) is None:
            return False
        self._tested = self._iteration
        self._rule.see_tests(self._iteration, self.test_nets, records)
        return True
