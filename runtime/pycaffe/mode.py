"""The device and the seed that pycaffe keeps for the whole process.

Nets and solvers of `runtime` take these as arguments; here they are the defaults of
those that are made afterwards.
"""

from __future__ import annotations

import multiprocessing
import operator
from dataclasses import dataclass
from typing import Any

from netspec.errors import MachineError, SpecError, UnsupportedError
from netspec.notebooks import warn_user
from runtime.backends import get_backend
from runtime.distributed import Communicator, world
from runtime.distributed.ranks import launched
from runtime.training.showing.log_lines import write_log


@dataclass
class _Mode:
    gpu: bool = False
    device: int = 0
    seed: int | None = None
    solvers: int = 1  # that were asked for
    rank: int | None = None  # that was given


_MODE = _Mode()


def backend() -> str:
    """Return the backend of nets that name none."""
    return f"cupy:{_MODE.device}" if _MODE.gpu else "numpy"


def seed() -> int | None:
    """Return what was given to `set_random_seed`."""
    return _MODE.seed


def set_mode_cpu() -> None:
    """Let nets that are made from now on run on the CPU."""
    _MODE.gpu = False


def set_mode_gpu() -> None:
    """Let nets that are made from now on run on the GPU, if there is one.

    Without one they run on the CPU, with a `RuntimeWarning`. Raises `MachineError`
    where there are some, but not that of `set_device`.
    """
    try:
        get_backend(f"cupy:{_MODE.device}")
    except MachineError as error:
        if _MODE.device and _has_gpu():
            raise
        warn_user(f"running on the CPU: {error}", RuntimeWarning)
        _MODE.gpu = False
    else:
        _MODE.gpu = True


def _has_gpu() -> bool:
    try:
        get_backend("cupy:0")
    except MachineError:
        return False
    return True


def set_device(device: int) -> None:
    """Choose the GPU of nets that are made from now on, by its number from 0.

    It may be called before `set_mode_gpu` or after it, as in Caffe. Raises `SpecError`
    for what is no such number, and `MachineError` where nets run on the GPU by now and
    there is none of that number.
    """
    number = operator.index(device)
    if number < 0:
        raise SpecError(f"set_device({device}): GPUs have numbers from 0")
    if _MODE.gpu:
        get_backend(f"cupy:{number}")
    _MODE.device = number


def set_random_seed(seed: int) -> None:
    """Set the seed of fillers, dropout and data order of what is made from now on."""
    _MODE.seed = int(seed)


def ignored(*_: Any) -> None:
    """Do nothing: the log is there from the start, and processes are `mpiexec`'s."""


init_log = set_multiprocess = ignored


def log(message: object) -> None:
    """Write a message to the log, which is standard error."""
    write_log(str(message), "_caffe")


def set_solver_count(count: int) -> None:
    """Say how many processes train together, from the next solver on.

    `mpiexec` must have started as many; else an `NCCL` of more than one is refused.

    Raises `SpecError` for a number below 1.
    """
    number = operator.index(count)
    if number < 1:
        raise SpecError(f"set_solver_count({count}): there is at least one")
    _MODE.solvers = number


def set_solver_rank(rank: int) -> None:
    """Say which of the processes this is: `solver_rank()`, as `mpiexec` has it."""
    _MODE.rank = operator.index(rank)


def wanted_solvers() -> int:
    """Return what was given to `set_solver_count`."""
    return _MODE.solvers


def communicator() -> Communicator | None:
    """Return the processes that a solver made now trains with; None for it alone.

    Raises `SpecError` where number or rank are not those of `mpiexec`, and
    `UnsupportedError` in a process that a script has started itself.
    """
    found = launched()
    if _MODE.solvers == 1 or found is None:
        return None
    if multiprocessing.parent_process() is not None:
        raise UnsupportedError(
            f"set_solver_count({_MODE.solvers}) in a process that the script started "
            f"by multiprocessing: mpiexec starts all of them here; let each run the "
            f"function that a process is to run, with solver_rank() for its rank"
        )
    if _MODE.solvers != found.size:
        raise SpecError(
            f"set_solver_count({_MODE.solvers}), but mpiexec has started {found.size} "
            f"processes; give solver_count(), or mpiexec -n {_MODE.solvers}"
        )
    if _MODE.rank not in (None, found.rank):
        raise SpecError(
            f"set_solver_rank({_MODE.rank}) in the process that mpiexec has given rank "
            f"{found.rank}; give solver_rank()"
        )
    return world()


def solver_count() -> int:
    """Return how many processes `mpiexec` has started; 1 without it."""
    found = launched()
    return 1 if found is None else found.size


def solver_rank() -> int:
    """Return which of the processes of `mpiexec` this is; 0 without it."""
    found = launched()
    return 0 if found is None else found.rank


def has_nccl() -> bool:
    """Say whether processes can train together: whether `mpiexec` has started some."""
    return launched() is not None
