"""Several processes that train one net: who they are, and how they meet."""

from __future__ import annotations

from runtime.distributed.communicator import Alone as Alone
from runtime.distributed.communicator import Communicator as Communicator
from runtime.distributed.ranks import launched


def world() -> Communicator:
    """Return all processes that `mpiexec` started with this one, to train together.

        solver = runtime.get_solver(
            "solver.prototxt", communicator=runtime.distributed.world()
        )

    Without `mpiexec`, or with a single process, it is `Alone`, and MPI is not imported.

    Raises `MachineError` if mpi4py or an MPI library is missing, or does not fit the
    `mpiexec` that started the process.
    """
    found = launched()
    if found is None:
        return Alone()
    from runtime.distributed.mpi import MpiCommunicator

    return MpiCommunicator.of_world(found)
