"""The device and the seed that pycaffe keeps for the whole process.

Nets and solvers of `runtime` take these as arguments; here they are the defaults of
those that are made afterwards.
"""

from __future__ import annotations

import operator
import warnings
from dataclasses import dataclass
from typing import Any

from netspec.errors import MachineError, SpecError
from runtime.backends import get_backend
from runtime.training.showing.log_lines import write_log


@dataclass
class _Mode:
    gpu: bool = False
    device: int = 0
    seed: int | None = None
    solvers: int = 1  # that were asked for


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
        warnings.warn(f"running on the CPU: {error}", RuntimeWarning, stacklevel=2)
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
    """Do nothing: one process trains, and its log is there from the start."""


init_log = set_solver_rank = set_multiprocess = ignored


def log(message: object) -> None:
    """Write a message to the log, which is standard error."""
    write_log(str(message), "_caffe")


def set_solver_count(count: int) -> None:
    """Note how many processes are to train; an `NCCL` of more than one is refused."""
    _MODE.solvers = int(count)


def wanted_solvers() -> int:
    """Return what was given to `set_solver_count`."""
    return _MODE.solvers


def solver_count() -> int:
    """Return 1: one process trains."""
    return 1


def solver_rank() -> int:
    """Return 0: one process trains."""
    return 0


def has_nccl() -> bool:
    """Return False: one process trains."""
    return False
