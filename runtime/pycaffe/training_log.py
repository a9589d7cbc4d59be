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
from typing import Any

import numpy as np

from runtime.pycaffe.log_lines import write_log
from runtime.training.history import StepRecord, TestRecord
from runtime.training.snapshot_files import Snapshot

MAX_VALUES = 100  # of an output are listed; of more the mean is told
FILE, LINE = "solver", 1


class TrainingLog:
    """Writes what happens in a solver: every `display` iterations, tests, snapshots.

    As in Caffe, `display: 0` shows tests and snapshots only.
    """

    def __init__(self, solver: Any) -> None:
        self._solver = solver
        self._shown = time.perf_counter()
        self._since = 0  # iterations since the last line
        solver.on_step(self._step)
        solver.on_test(self._test)
        solver.on_snapshot(self._snapshot)

    def begin(self) -> None:
        """Tell that a training starts."""
        write_log(FILE, LINE, f"Solving {self._solver.net.name}")
        write_log(FILE, LINE, f"Learning Rate Policy: {self._solver.param.lr_policy}")
        self._shown, self._since = time.perf_counter(), 0

    def end(self) -> None:
        """Tell that a training is over."""
        write_log(FILE, LINE, "Optimization Done.")

    def _step(self, record: StepRecord) -> None:
        self._since += 1
        display = self._solver.param.display
        if display <= 0 or record.iteration % display:
            return
        seconds = time.perf_counter() - self._shown
        speed = self._since / seconds if seconds > 0 else 0.0
        write_log(
            FILE,
            LINE,
            f"Iteration {record.iteration} ({speed:.6g} iter/s, {seconds:.6g}s/"
            f"{self._since} iters), loss = {record.smoothed_loss:.6g}",
        )
        net = self._solver.net
        values = {name: net.blobs[name].data for name in net.outputs}
        _outputs("Train", values, net.blob_loss_weights)
        write_log(FILE, LINE, f"Iteration {record.iteration}, lr = {record.lr:.6g}")
        self._shown, self._since = time.perf_counter(), 0

    def _test(self, record: TestRecord) -> None:
        head = f"Iteration {record.iteration}, Testing net (#{record.net})"
        write_log(FILE, LINE, head)
        if record.loss is not None:
            write_log(FILE, LINE, f"Test loss: {record.loss:.6g}")
        _outputs("Test", record.outputs, record.loss_weights)

    def _snapshot(self, snapshot: Snapshot) -> None:
        write_log(FILE, LINE, f"Snapshotting to file {snapshot.model}")
        write_log(FILE, LINE, f"Snapshotting solver state to file {snapshot.state}")


def _outputs(
    kind: str, outputs: Mapping[str, np.ndarray], weights: Mapping[str, float]
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
            part = f" (* {weight:.6g} = {weight * value:.6g} loss)" if weight else ""
            said = f"    {kind} net output #{number}: {name} = {value:.6g}{part}{more}"
            write_log(FILE, LINE, said)
            number += 1
