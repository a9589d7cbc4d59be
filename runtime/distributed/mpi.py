"""Communication by MPI: mpi4py, and the library that it finds."""

from __future__ import annotations

import json
import time
from typing import Any, TypeVar

import numpy as np

from netspec.errors import MachineError
from runtime.distributed.communicator import Request
from runtime.distributed.ranks import Launched

POLL_S = 0.0002  # between looks at a message; each look moves a piece of it
# Looks without a pause before the first, some microseconds each: small sums are done
# by then, where nobody is late.
LOOKS = 20

T = TypeVar("T")


class MpiCommunicator:
    """Ranks of MPI. Gradients have a communicator of their own, for another thread."""

    def __init__(self, comm: Any, found: Launched) -> None:
        self._comm, self._sums = comm.Dup(), comm.Dup()
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.local_rank = found.local_rank
        self.local_size = found.local_size or self.size

    @classmethod
    def of_world(cls, found: Launched) -> MpiCommunicator:
        """Return all ranks of the job.

        Raises `MachineError` if MPI cannot be used.
        """
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise MachineError(
                f"{found.size} processes were started together, but MPI cannot be "
                f"used: {error}; install mpi4py and an MPI library, as with "
                f"pip install 'netspec[mpi]'"
            ) from error
        size = MPI.COMM_WORLD.Get_size()
        if size != found.size:
            raise MachineError(
                f"{found.size} processes were started together, but the MPI library of "
                f"mpi4py sees {size}: mpiexec belongs to another MPI; use that of the "
                f"same environment, or install mpi4py for the other"
            )
        return cls(MPI.COMM_WORLD, found)

    def start_sum(self, values: np.ndarray) -> Request:
        """Start to add up an array over all ranks, in place."""
        from mpi4py import MPI

        return _Sum(self._sums.Iallreduce(MPI.IN_PLACE, values))

    def sum(self, values: np.ndarray) -> None:
        """Add up a small array over all ranks, in place."""
        from mpi4py import MPI

        _wait(self._comm.Iallreduce(MPI.IN_PLACE, values))

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has, as JSON."""
        data = _packed(value) if self.rank == 0 else np.empty(0, np.uint8)
        size = np.array([data.size], np.int64)
        _wait(self._comm.Ibcast(size))
        if self.rank:
            data = np.empty(int(size[0]), np.uint8)
        _wait(self._comm.Ibcast(data))
        sent: T = json.loads(data.tobytes())
        return sent

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, on each, as JSON."""
        packed = _packed(value)
        sizes = np.zeros(self.size, np.int64)
        _wait(self._comm.Iallgather(np.array([packed.size], np.int64), sizes))
        data = np.empty(int(sizes.sum()), np.uint8)
        starts = np.cumsum(sizes) - sizes
        _wait(self._comm.Iallgatherv(packed, [data, (sizes, starts)]))
        ends = starts + sizes
        pairs = zip(starts, ends, strict=True)
        return [json.loads(data[start:end].tobytes()) for start, end in pairs]

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        _wait(self._comm.Ibarrier())

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(status)


def _packed(value: Any) -> np.ndarray:
    return np.frombuffer(bytearray(json.dumps(value), "ascii"), np.uint8)


class _Sum:
    def __init__(self, request: Any) -> None:
        self._request = request

    def done(self) -> bool:
        return bool(self._request.Test())


def _wait(request: Any) -> None:
    """Wait for a message without spinning, and with an ear for signals."""
    for _ in range(LOOKS):
        if request.Test():
            return
    while not request.Test():
        time.sleep(POLL_S)
