"""The device and the seed that pycaffe keeps for the whole process.

Nets and solvers of `runtime` take these as arguments; here they are the defaults of
those that are made afterwards.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from netspec.errors import MachineError
from runtime.backends import get_backend
from runtime.pycaffe.log_lines import write_log


@dataclass
class _Mode:
    backend: str = "numpy"
    seed: int | None = None
    solvers: int = 1  # that were asked for


_MODE = _Mode()


def backend() -> str:
    """Return the backend of nets that name none."""
    return _MODE.backend


def seed() -> int | None:
    """Return what was given to `set_random_seed`."""
    return _MODE.seed


def set_mode_cpu() -> None:
    """Let nets that are made from now on run on the CPU."""
    _MODE.backend = "numpy"


def set_mode_gpu() -> None:
    """Let nets that are made from now on run on the GPU, if there is one.

    Without one they run on the CPU, with a `RuntimeWarning`.
    """
    try:
        get_backend("cupy")
    except MachineError as error:
        warnings.warn(f"running on the CPU: {error}", RuntimeWarning, stacklevel=2)
        _MODE.backend = "numpy"
    else:
        _MODE.backend = "cupy"


def set_device(device: int) -> None:
    """Choose a GPU; only the first that the process sees can be chosen."""
    if device != 0:
        warnings.warn(
            f"set_device({device}) has no effect; choose by CUDA_VISIBLE_DEVICES",
            RuntimeWarning,
            stacklevel=2,
        )


def set_random_seed(seed: int) -> None:
    """Set the seed of fillers, dropout and data order of what is made from now on."""
    _MODE.seed = int(seed)


def ignored(*_: Any) -> None:
    """Do nothing: one process trains, and its log is there from the start."""


init_log = set_solver_rank = set_multiprocess = ignored


def log(message: object) -> None:
    """Write a message to the log, which is standard error."""
    write_log("_caffe", 1, str(message))


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
