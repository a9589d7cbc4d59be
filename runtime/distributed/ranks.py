"""Which process of a job this is, by what launchers write into the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import chain

MPICH, OPEN_MPI, MVAPICH, SLURM = "MPICH", "Open MPI", "MVAPICH", "Slurm"
# Of each launcher: rank, size, rank and size among those of the same machine; of
# several names the first that is there. Those of MPICH have what descends from it, too
# (Intel MPI, MVAPICH 3), PALS of Cray (PMI_LOCAL_RANK), and `srun --mpi=pmi2`. With
# `srun --mpi=pmix` the size is known to Slurm alone.
_VARIABLES: dict[str, tuple[tuple[str, ...], ...]] = {
    MPICH: (
        ("PMI_RANK",),
        ("PMI_SIZE",),
        ("MPI_LOCALRANKID", "PMI_LOCAL_RANK"),
        ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"),
    ),
    OPEN_MPI: (
        ("OMPI_COMM_WORLD_RANK",),
        ("OMPI_COMM_WORLD_SIZE",),
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        ("OMPI_COMM_WORLD_LOCAL_SIZE",),
    ),
    MVAPICH: (
        ("MV2_COMM_WORLD_RANK",),
        ("MV2_COMM_WORLD_SIZE",),
        ("MV2_COMM_WORLD_LOCAL_RANK",),
        ("MV2_COMM_WORLD_LOCAL_SIZE",),
    ),
    SLURM: (("PMIX_RANK",), ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), (), ()),
}
MOST_NODES = 1 << 16
_OF_SLURM = "SLURM_"  # what tells of more than ranks, and stays


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
        rank, size, local_rank, local_size = (_first(environment, n) for n in names)
        if rank is not None and size is not None and size > 1:
            if local_rank is None or local_size is None:
                local_rank, local_size = _by_slurm(environment, rank)
            return Launched(rank, size, local_rank or 0, local_size or 0, launcher)
    return None


def variable_of(launcher: str) -> str:
    """Return the variable that a launcher sets for each of its ranks."""
    return _VARIABLES[launcher][0][0]


def forget_launch(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make this process one that nobody started together with others."""
    for groups in _VARIABLES.values():
        for name in chain(*groups):
            if not name.startswith(_OF_SLURM):
                environment.pop(name, None)


def _first(environment: Mapping[str, str], names: Sequence[str]) -> int | None:
    """Return the number that the first of some variables has that is there."""
    found = (_number(environment.get(name)) for name in names)
    return next((one for one in found if one is not None), None)


def _by_slurm(environment: Mapping[str, str], rank: int) -> tuple[int, int]:
    """Return rank and size on this machine of a task of `srun`; zeros if it is none.

    SLURM_STEP_TASKS_PER_NODE tells how many tasks machines have: "4(x2),1" is 4, 4, 1.
    """
    told = environment.get
    if _number(told("SLURM_PROCID")) != rank:  # a process that a task started
        return 0, 0
    local, node = _number(told("SLURM_LOCALID")), _number(told("SLURM_NODEID"))
    counts: list[int] = []
    for part in told("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        count, _, times = part.removesuffix(")").partition("(x")
        if not count.isdigit() or not (times or "1").isdigit():
            return local or 0, 0
        counts += [int(count)] * min(int(times or 1), MOST_NODES)
    known = local is not None and node is not None and node < len(counts)
    return (local or 0, counts[node] if known and node is not None else 0)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
