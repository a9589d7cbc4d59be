"""pycaffe's `NCCL`: the exchange of gradients, which a solver here does itself."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from netspec.errors import SpecError, UnsupportedError
from runtime.distributed.communicator import finish
from runtime.execution.mirror import Kind, Steps
from runtime.pycaffe import mode

UID_BYTES = 128  # as NCCL's own
_WEIGHTS = Steps(
    reads=frozenset({Kind.WEIGHT}), changes=frozenset({Kind.WEIGHT, Kind.WEIGHT_DIFF})
)


class NCCL:
    """The exchange of gradients between the processes of a solver.

    Processes that `mpiexec` started train together where they say
    `set_solver_count(solver_count())` before they make their solver, which then adds up
    gradients in every iteration by itself: `solver.add_callback(nccl)` and
    `net.after_backward(nccl)` take this as in Caffe, and it has nothing to do there. Of
    one process neither.

    uid: of no use; who belongs together is known from `mpiexec`.

    Raises `UnsupportedError` where `set_solver_count` asked for several processes that
    `mpiexec` has not started, `SpecError` for a solver that was made before.
    """

    def __init__(self, solver: Any, uid: bytes) -> None:
        count = mode.wanted_solvers()
        communicator = getattr(solver, "communicator", None)
        if count > 1 and mode.communicator() is None:
            raise UnsupportedError(
                f"NCCL: set_solver_count({count}) asks for {count} processes that "
                f"train together, but one process trains here; run it with one device, "
                f"or let mpiexec -n {count} start the script, with "
                f"set_solver_rank(solver_rank()) and no processes of its own. "
                f"iter_size: {count} in the solver gives the gradient of as many "
                f"batches"
            )
        if count > 1 and communicator is None:
            raise SpecError(
                f"NCCL: the solver was made before set_solver_count({count}), and "
                f"trains alone; say how many train together first"
            )
        self._solver, self._communicator = solver, communicator
        self.uid = uid

    @staticmethod
    def new_uid() -> bytes:
        """Return a name for a group of processes."""
        return secrets.token_bytes(UID_BYTES)

    def bcast(self) -> None:
        """Give all processes the parameters of the first; of one there is nothing."""
        ranks = self._communicator
        if ranks is None:
            return
        net = self._solver.net
        net.mirror.before_steps(_WEIGHTS)
        data = net.parameters.flat.data
        values = np.zeros(data.shape, str(data.dtype))
        if ranks.rank == 0:
            net.backend.download(data, out=values)
        finish(ranks.start_sum(values))
        net.backend.upload(values, out=data)
        net.mirror.after_steps()

    def __call__(self, *_: Any) -> None:
        """Do nothing: the solver sums the gradients over all processes."""
