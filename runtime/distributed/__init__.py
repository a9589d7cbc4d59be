"""Several processes that train one net: who they are, and how they meet."""

from __future__ import annotations

from functools import cache

from runtime.distributed.communicator import Alone as Alone
from runtime.distributed.communicator import Communicator as Communicator
from runtime.distributed.ranks import launched as launched


def world() -> Communicator:
    """Return all processes that `mpiexec` started with this one, to train together.

        solver = runtime.get_solver(
            "solver.prototxt", communicator=runtime.distributed.world()
        )

    Without `mpiexec`, or with a single process, it is `Alone`, and MPI is not imported.
    Every call returns the same.

    From the first call on, a process that ends amid the training ends the whole job:
    by an exception that nobody catches, whose traceback is printed first, or by
    `sys.exit`, once others wait for it.

    Raises `MachineError` if mpi4py or an MPI library is missing, or does not fit the
    `mpiexec` that started the process.
    """
    return _world()


@cache
def _world() -> Communicator:
    found = launched()
    if found is None:
        return Alone()
    from runtime.distributed.faults import warn_of_progress_thread, watch_ends
    from runtime.distributed.mpi import MpiCommunicator

    communicator = MpiCommunicator.of_world(found)
    communicator.warned = watch_ends(communicator)
    if communicator.rank == 0:
        warn_of_progress_thread()
    return communicator
