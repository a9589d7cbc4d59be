"""Which process of a job this is, by what launchers write into the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

# Of each launcher: rank, size, rank and size among those of the same machine. MPICH and
# what descends from it (Intel MPI, MVAPICH 3, Cray), Open MPI, MVAPICH 2.
_VARIABLES = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    (
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
)


@dataclass(frozen=True)
class Launched:
    """A process of a job: `rank` of `size`, and the same on its machine alone.

    Where the launcher does not tell how many are on a machine, `local_size` is 0.
    """

    rank: int
    size: int
    local_rank: int = 0
    local_size: int = 0


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Return what a launcher of MPI says, or None where there is one process only."""
    for names in _VARIABLES:
        rank, size, local_rank, local_size = (
            _number(environment.get(name)) for name in names
        )
        if rank is not None and size is not None and size > 1:
            return Launched(rank, size, local_rank or 0, local_size or 0)
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
