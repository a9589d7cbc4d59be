"""The log of a training, in Caffe's lines: scripts read them, and so do people.

Iteration 100 (25 iter/s, 4s/100 iters), loss = 0.43
    Train net output #0: loss = 0.43 (* 1 = 0.43 loss)
Iteration 100, lr = 0.01
Iteration 500, Testing net (#0)
    Test net output #0: accuracy = 0.91
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from runtime.compilation import show_on_terminal, text
from runtime.training.records import StepRecord, TestRecord
from runtime.training.showing.log_lines import write_log
from runtime.training.showing.show import Outcome, Run, Show
from runtime.training.snapshot_files import Snapshot

MAX_VALUES = 100  # of an output are listed; of more the mean is told


class CaffeLog(Show):
    """Writes what happens in a solver: every `display` iterations, tests, snapshots.

    `display: 0` shows tests and snapshots, as in Caffe, if a log was asked for; else
    nothing.
    """

    def __init__(self) -> None:
        self._seconds = 0.0  # in runs, since the last line about an iteration
        self._line_at = self._seen = -1  # iterations done at that line, and at the last

    def begin(self, run: Run) -> None:
        """Tell that a training starts, if it is a whole one."""
        self._run, solver = run, run.solver
        history = solver.history
        self._tests = len(history.tests)
        self._snapshots = len(history.snapshots) - (run.kind == "snapshot")
        if solver.iter != self._seen:  # it is the first run, or a snapshot was restored
            self._line_at = self._seen = solver.iter
        if run.kind == "solve":
            self._say(f"Solving {solver.net.name}")
            self._say(f"Learning Rate Policy: {solver.param.lr_policy}")
            self._seconds = 0.0
        self._started = time.perf_counter()

    def wants(self, iteration: int) -> bool:
        """Say whether an iteration gets a line."""
        display = self._run.solver.param.display
        return display > 0 and iteration % display == 0

    def look(self, doing: str = "") -> None:
        """Write what is new."""
        history = self._run.history
        train, tests, snapshots = history.train, history.tests, history.snapshots
        if train and train[-1].iteration >= self._seen:
            self._seen = train[-1].iteration + 1
            if self.wants(train[-1].iteration):
                self._step(train[-1])
        for record in tests[self._tests :]:
            self._test(record)
        for snapshot in snapshots[self._snapshots :]:
            self._snapshot(snapshot)
        self._tests, self._snapshots = len(tests), len(snapshots)

    def compiling(self, done: int, total: int) -> None:
        """Tell once that kernels are compiled, and how far that is on a terminal."""
        if done == 0:
            self._say(f"Compiling {total} kernels, once")
        else:
            show_on_terminal(text(done, total))

    def end(self, outcome: Outcome) -> None:
        """Tell that a training is over."""
        self.look()
        self._seconds += time.perf_counter() - self._started
        self._seen = self._run.solver.iter
        if outcome.interrupted:
            self._say(f"Optimization stopped early, at iteration {self._seen}.")
        elif self._run.kind == "solve" and outcome.error is None:
            self._say("Optimization Done.")
        del self._run

    def _say(self, message: str) -> None:
        if self.always or self._run.solver.param.display > 0:
            write_log(message)

    def _step(self, record: StepRecord) -> None:
        done, now = record.iteration + 1, time.perf_counter()
        seconds = self._seconds + now - self._started
        since = done - self._line_at
        speed = since / seconds if seconds > 0 else 0.0
        self._say(
            f"Iteration {record.iteration} ({speed:.6g} iter/s, {seconds:.6g}s/"
            f"{since} iters), loss = {record.smoothed_loss:.6g}",
        )
        net = self._run.solver.net
        values = {name: net.blobs[name].data for name in net.outputs}
        self._outputs("Train", values, net.blob_loss_weights)
        self._say(f"Iteration {record.iteration}, lr = {record.lr:.6g}")
        self._started, self._seconds, self._line_at = time.perf_counter(), 0.0, done

    def _test(self, record: TestRecord) -> None:
        self._say(f"Iteration {record.iteration}, Testing net (#{record.net})")
        if record.loss is not None:
            self._say(f"Test loss: {record.loss:.6g}")
        self._outputs("Test", record.outputs, record.loss_weights)

    def _snapshot(self, snapshot: Snapshot) -> None:
        self._say(f"Snapshotting to file {snapshot.model}")
        self._say(f"Snapshotting solver state to file {snapshot.state}")

    def _outputs(
        self, kind: str, outputs: Mapping[str, np.ndarray], weights: Mapping[str, float]
    ) -> None:
        """Write all values of all outputs, numbered through, as Caffe does."""
        number = 0
        for name, array in outputs.items():
            weight = weights.get(name, 0.0)
            values = np.asarray(array, float).reshape(-1)
            more = ""
            if values.size > MAX_VALUES:
                more = f" (mean of {values.size} values)"
                values = values.mean(keepdims=True)
            for value in values:
                part = (
                    f" (* {weight:.6g} = {weight * value:.6g} loss)" if weight else ""
                )
                self._say(
                    f"    {kind} net output #{number}: {name} = {value:.6g}{part}{more}"
                )
                number += 1
