"""Which process of a job this is, by what launchers write into the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

MPICH, OPEN_MPI, MVAPICH = "MPICH", "Open MPI", "MVAPICH"
# Of each launcher: rank, size, rank and size among those of the same machine. Those of
# MPICH have what descends from it, too (Intel MPI, MVAPICH 3, Cray), and Slurm.
_VARIABLES = {
    MPICH: ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    OPEN_MPI: (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    MVAPICH: (
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
}


@dataclass(frozen=True)
class Launched:
    """A process of a job: `rank` of `size`, and the same on its machine alone.

    Where the launcher does not tell how many are on a machine, `local_size` is 0.
    launcher: the MPI that it belongs to.
    """

    rank: int
    size: int
    local_rank: int = 0
    local_size: int = 0
    launcher: str = MPICH


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Return what a launcher of MPI says, or None where there is one process only."""
    for launcher, names in _VARIABLES.items():
        rank, size, local_rank, local_size = (
            _number(environment.get(name)) for name in names
        )
        if rank is not None and size is not None and size > 1:
            local = local_rank or 0, local_size or 0
            return Launched(rank, size, *local, launcher)
    return None


def variables_of(launcher: str) -> Sequence[str]:
    """Return the variables that a launcher sets: rank, size, and those of a machine."""
    return _VARIABLES[launcher]


def forget_launch(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make this process one that nobody started together with others."""
    for names in _VARIABLES.values():
        for name in names:
            environment.pop(name, None)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
