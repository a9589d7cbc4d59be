"""`CSVLog` and `JSONLog`: every number of a training, written as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from netspec.errors import FileError
from runtime.distributed.communicator import is_first
from runtime.training.callbacks import Callback
from runtime.training.divergence import warn
from runtime.training.logs import Log
from runtime.training.records import StepRecord, TestRecord
from runtime.training.snapshot_files import SnapshotWarning


class CSVLog(Callback):
    """Writes every loss, rate and test result into a CSV file, a line each.

        iteration,phase,name,value
        0,train,loss,2.31

    path: the file. A training from iteration 0 writes it anew; one that is resumed cuts
        off what comes again, and goes on. `History.read` reads it.

    Every record is on its way to the disk at once. Training goes on where the file can
    no longer be written, with a `SnapshotWarning`. Of several ranks the first writes.
    On a GPU the host waits for each iteration.

    Raises `FileError` when training begins, for a file that cannot be opened.
    """

    json: ClassVar[bool] = False

    def __init__(self, path: str | Path) -> None:
        self._log: Log | None = None
        self.path = Path(path)
        self.name = f"{type(self).__name__}({self.path.name})"
        self._next = -1  # the iteration that goes on from what is written
        self._failed = False

    def on_train_begin(self, solver: Any) -> None:
        """Open the file, unless it is and this goes on."""
        if not is_first(solver.communicator):
            return
        if self._failed or (self._log is not None and solver.iter == self._next):
            return
        self.close()
        at = solver.iter
        # A test that was due here comes again after a snapshot, else not.
        tested = any(test.iteration == at for test in solver.history.tests)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                f"{self.path}: its folder cannot be made: {error.strerror}"
            ) from error
        self._log = Log(self.path, append=at > 0, since=at + tested, json=self.json)
        self._next = at

    def on_step(self, record: StepRecord) -> None:
        """Write an iteration."""
        self._write(record)
        self._next = record.iteration + 1

    def on_test(self, record: TestRecord) -> None:
        """Write the results of a test."""
        self._write(record)

    def close(self) -> None:
        """Close the file; the next training opens it again."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def again(self, old: Callback) -> bool:
        """Say whether another one writes this file, which it leaves to this."""
        same = isinstance(old, CSVLog) and old.path.absolute() == self.path.absolute()
        if same and isinstance(old, CSVLog):
            old.close()
        return same

    def _write(self, record: StepRecord | TestRecord) -> None:
        if self._log is None:
            return
        try:
            self._log.add(record)
        except FileError as error:
            self.close()
            self._failed = True
            warn(f"{error}; training goes on without this log", SnapshotWarning)

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


class JSONLog(CSVLog):
    """Writes every record as a line of JSON; else as `CSVLog`.

    {"iteration": 0, "phase": "train", "loss": 2.31, "lr": 0.01, "seconds": 0.02}
    """

    json: ClassVar[bool] = True
