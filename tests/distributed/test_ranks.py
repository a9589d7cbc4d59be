"""Which rank a process is, by the variables that launchers document."""

from __future__ import annotations

import pytest

from runtime.distributed.ranks import Launched, forget_launch, launched

OMPI, MV2 = "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_"
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_NTASKS": "7",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),3",
}
LAUNCHERS = {
    "MPICH's and Intel MPI's mpiexec": (
        {
            "PMI_RANK": "5",
            "PMI_SIZE": "8",
            "MPI_LOCALRANKID": "1",
            "MPI_LOCALNRANKS": "4",
        },
        Launched(5, 8, 1, 4, "MPICH"),
    ),
    "Intel MPI whose proxies srun started": (
        {
            **SRUN,
            "PMI_RANK": "3",
            "PMI_SIZE": "8",
            "MPI_LOCALRANKID": "0",
            "MPI_LOCALNRANKS": "4",
        },
        Launched(3, 8, 0, 4, "MPICH"),
    ),
    "Open MPI's mpiexec": (
        {
            f"{OMPI}RANK": "2",
            f"{OMPI}SIZE": "3",
            f"{OMPI}LOCAL_RANK": "1",
            f"{OMPI}LOCAL_SIZE": "2",
            "PMIX_RANK": "2",
            "SLURM_NTASKS": "9",
        },
        Launched(2, 3, 1, 2, "Open MPI"),
    ),
    "MVAPICH's mpirun_rsh": (
        {
            f"{MV2}RANK": "4",
            f"{MV2}SIZE": "6",
            f"{MV2}LOCAL_RANK": "1",
            f"{MV2}LOCAL_SIZE": "3",
        },
        Launched(4, 6, 1, 3, "MVAPICH"),
    ),
    "PALS of Cray": (
        {
            "PMI_RANK": "9",
            "PMI_SIZE": "16",
            "PMI_LOCAL_RANK": "1",
            "PMI_LOCAL_SIZE": "8",
        },
        Launched(9, 16, 1, 8, "MPICH"),
    ),
    "srun --mpi=pmi2": (
        {**SRUN, "PMI_RANK": "5", "PMI_SIZE": "6"},
        Launched(5, 6, 1, 3, "MPICH"),
    ),
    "srun --mpi=pmix": (
        {**SRUN, "PMIX_RANK": "5"},
        Launched(5, 6, 1, 3, "Slurm"),
    ),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_process_knows_its_rank_by_what_its_launcher_says(launcher):
    given, expected = LAUNCHERS[launcher]
    variables = {**given, "HOME": "/"}
    assert launched(variables) == expected
    forget_launch(variables)
    assert launched(variables) is None
    kept = {name for name in given if name.startswith("SLURM_")}
    assert variables.keys() == {*kept, "HOME"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PMI_RANK": "0", "PMI_SIZE": "1"},
        {"PMI_RANK": "x", "PMI_SIZE": "4"},
        {**SRUN, "SLURM_PROCID": "0"},  # a batch script of a job of several tasks
        {"PMIX_RANK": "0"},
        {"SLURM_NTASKS": "1", "PMIX_RANK": "0"},
    ],
)
def test_one_process_is_none_of_several(variables):
    assert launched(variables) is None


@pytest.mark.parametrize(
    ("told", "size"),
    [("2(x2),3", 3), ("3,2(x2)", 2), ("2(x2)", 0), ("", 0), ("2(x", 0), ("a(x3)", 0)],
)
def test_sizes_of_machines_are_read_where_they_can_be(told, size):
    variables = {**SRUN, "PMIX_RANK": "5", "SLURM_STEP_TASKS_PER_NODE": told}
    assert launched(variables) == Launched(5, 6, 1, size, "Slurm")


def test_a_process_that_a_task_of_slurm_started_is_not_that_task():
    variables = {**SRUN, "SLURM_PROCID": "1", "PMI_RANK": "5", "PMI_SIZE": "6"}
    assert launched(variables) == Launched(5, 6, 0, 0, "MPICH")
