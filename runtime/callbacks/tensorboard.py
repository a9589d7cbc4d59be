"""`TensorBoard`: curves, histograms and filters for TensorBoard."""

from __future__ import annotations

import importlib
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError
from runtime.callbacks.watching import number
from runtime.distributed.communicator import is_first
from runtime.training.callbacks import Callback
from runtime.training.monitored import named
from runtime.training.records import StepRecord, TestRecord

FLUSH_S = 1  # until what was written is on the disk
FILTER_CHANNELS = (1, 3)  # of filters that are pictures


class TensorBoard(Callback):
    """Writes what a training does into a folder, for `tensorboard --logdir FOLDER`.

    Scalars are `train/loss`, `train/lr` and `train/seconds`, and for tests `val/` and
    the name of an output, with `val/loss` as the whole objective where no output has
    that name; of a second test net they begin with `val1/`.

    every: iterations between two points of the training curves.
    histograms: iterations between two histograms of all parameters; 0 for none.
    filters: iterations between two pictures of the filters of the first convolution,
        if they have one channel or three; 0 for none.

    What is written is on the disk a second later, or when this is closed, or the
    process ends. A run that is resumed hides what comes again. Of several ranks the
    first writes. On a GPU the host waits for each iteration.

    Raises `MachineError` without tensorboardX (the extra netspec[tensorboard]), and
    `FileError` when training begins, for a folder that cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every: int = 1,
        histograms: int = 0,
        filters: int = 0,
    ) -> None:
        self._writer: Any = None
        self.folder = Path(folder)
        self.name = f"{type(self).__name__}({self.folder.name})"
        self.every = number("every", every, at_least=1, whole=True)
        self.histograms = number("histograms", histograms, at_least=0, whole=True)
        self.filters = number("filters", filters, at_least=0, whole=True)
        self._solver: Any = None
        self._next = -1  # the iteration that goes on from what is written
        try:
            self._module: Any = importlib.import_module("tensorboardX")
        except ImportError as error:
            raise MachineError(
                "TensorBoard needs tensorboardX, which is not installed; install the "
                "extra netspec[tensorboard], or use CSVLog"
            ) from error

    def on_train_begin(self, solver: Any) -> None:
        """Open a file, unless one is open and this goes on."""
        if not is_first(solver.communicator):
            return
        self._solver = solver
        if self._writer is not None and solver.iter == self._next:
            return
        self.close()
        at = solver.iter
        try:
            # Files are called by the second; two of one would be the same file.
            self._writer = self._module.SummaryWriter(
                str(self.folder),
                purge_step=at or None,
                filename_suffix=f".{time.time_ns()}",
                flush_secs=FLUSH_S,
            )
        except OSError as error:
            raise FileError(
                f"{self.folder}: cannot be written: {error.strerror}"
            ) from error
        # Its `flush` leaves what is still in its queue, its `close` does not.
        weakref.finalize(self, self._writer.close)
        self._next = at

    def on_step(self, record: StepRecord) -> None:
        """Write an iteration, if it is its turn."""
        at = record.iteration
        self._next = at + 1
        if self._writer is None:
            return
        if at % self.every == 0:
            for phase, name, value in record.values():
                self._writer.add_scalar(f"{phase}/{name}", value, at)
        if self.histograms and (at + 1) % self.histograms == 0:
            self._write_histograms(at + 1)
        if self.filters and (at + 1) % self.filters == 0:
            self._write_filters(at + 1)

    def on_test(self, record: TestRecord) -> None:
        """Write the results of a test."""
        if self._writer is not None:
            for name, value in named(record).items():
                tag = name.replace("_", "/", 1)
                self._writer.add_scalar(tag, value, record.iteration)

    def on_train_end(self, solver: Any) -> None:
        """Let go of the solver."""
        self._solver = None

    def close(self) -> None:
        """Bring everything to the disk; the next training opens another file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def again(self, old: Callback) -> bool:
        """Say whether another one writes into the same folder; it leaves it to this."""
        same = isinstance(old, TensorBoard) and (
            old.folder.absolute() == self.folder.absolute()
        )
        if same and isinstance(old, TensorBoard):
            old.close()
        return same

    def _write_histograms(self, at: int) -> None:
        for layer, blobs in self._solver.net.params.items():
            for slot, blob in enumerate(blobs):
                values = blob.data
                # There is no histogram of nothing, nor of what is not finite.
                if values.size and np.isfinite(values).all():
                    tag = f"parameters/{layer}/{slot}"
                    self._writer.add_histogram(tag, values, at)

    def _write_filters(self, at: int) -> None:
        for layer, blobs in self._solver.net.params.items():
            values: Any = blobs[0].data if len(blobs) else np.zeros(0)
            if values.ndim == 4 and values.shape[1] in FILTER_CHANNELS:
                self._writer.add_image(f"filters/{layer}", tiled(values), at)
                return

    def __repr__(self) -> str:
        return f"TensorBoard({str(self.folder)!r})"


def tiled(filters: np.ndarray) -> np.ndarray:
    """Return filters side by side as a picture, from 0 to 1.

    Shapes: filters (N, C, H, W) -> (C, rows (H + 1) - 1, columns (W + 1) - 1).
    """
    n, c, h, w = filters.shape
    low, high = float(filters.min()), float(filters.max())
    values = (filters - low) / (high - low or 1.0)
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    picture = np.zeros((c, rows * (h + 1) - 1, columns * (w + 1) - 1), np.float32)
    for index in range(n):
        y, x = (index // columns) * (h + 1), (index % columns) * (w + 1)
        picture[:, y : y + h, x : x + w] = values[index]
    return picture
