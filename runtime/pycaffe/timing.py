"""pycaffe's `Timer`, and its `NCCL` for the one process that trains here."""

from __future__ import annotations

import secrets
import time
from typing import Any

from netspec.errors import UnsupportedError
from runtime.pycaffe import mode

MILLISECONDS = 1e3
UID_BYTES = 128  # as NCCL's own


class Timer:
    """Measures a time: `start()`, `stop()`, then `ms`, in milliseconds.

    `ms` is 0 before the first `stop`, and the time up to now while the timer runs.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._seconds = 0.0

    def start(self) -> None:
        """Begin, anew if it runs already."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End what `start` began; without it nothing changes."""
        if self._started is not None:
            self._seconds = time.perf_counter() - self._started
            self._started = None

    @property
    def ms(self) -> float:
        """The time between the last `start` and `stop`."""
        if self._started is not None:
            return (time.perf_counter() - self._started) * MILLISECONDS
        return self._seconds * MILLISECONDS


class NCCL:
    """The exchange of gradients between the processes of a solver: here, of one.

    It does nothing then, as sums over one process do; `solver.add_callback(nccl)` and
    `net.after_backward(nccl)` take it as in Caffe.

    Raises `UnsupportedError` where `set_solver_count` asked for more than one process.
    """

    def __init__(self, solver: Any, uid: bytes) -> None:
        count = mode.wanted_solvers()
        if count > 1:
            raise UnsupportedError(
                f"NCCL: set_solver_count({count}) asks for {count} processes that "
                f"train together, but one process trains here; run it with one device. "
                f"iter_size: {count} in the solver gives the gradient of as many "
                f"batches"
            )
        self._solver = solver
        self.uid = uid

    @staticmethod
    def new_uid() -> bytes:
        """Return a name for a group of processes."""
        return secrets.token_bytes(UID_BYTES)

    def bcast(self) -> None:
        """Send the parameters to the other processes: there is none."""

    def __call__(self, *_: Any) -> None:
        """Sum the gradients over all processes: there is one."""
