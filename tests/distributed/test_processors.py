"""How many threads a rank takes of the processors of its machine."""

from __future__ import annotations

import os

import pytest

from runtime.distributed import launchers, processors

OWN = 0
LAUNCHER, SHELL = 40, 50  # numbers of processes


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 64 processors; `start` says which ranks were started, and how."""
    allowed = {LAUNCHER: 64, SHELL: 64}
    parent = {"now": LAUNCHER}
    monkeypatch.setattr(launchers, "PROCESSES", tmp_path)
    monkeypatch.setattr(os, "getppid", lambda: parent["now"])
    monkeypatch.setattr(processors, "_count", lambda number: allowed[number])
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)

    def start(ranks, own, launcher=64, shell=False):
        allowed.update({OWN: own, LAUNCHER: launcher, SHELL: own})
        monkeypatch.setenv("PMI_RANK", "1")
        monkeypatch.setenv("PMI_SIZE", str(2 * ranks))  # on two machines
        monkeypatch.setenv("MPI_LOCALRANKID", "1")
        monkeypatch.setenv("MPI_LOCALNRANKS", str(ranks))
        parent["now"] = SHELL if shell else LAUNCHER
        return processors.usual_threads()

    for number, environment, name in (
        (LAUNCHER, b"HOME=/\0PMI_PORT=3", "hydra (pmi) proxy"),
        (SHELL, b"HOME=/\0PMI_RANK=1\0", "sh"),
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "environ").write_bytes(environment)
        (folder / "stat").write_text(f"{number} ({name}) S {LAUNCHER} 1 1 0")
    return start


def test_ranks_that_share_all_processors_have_a_part_each(machine):
    assert machine(4, own=64) == 16


def test_ranks_that_are_bound_are_not_divided_twice(machine):
    assert machine(4, own=16) == 16
    assert machine(4, own=3) == 3


def test_ranks_bound_to_the_same_half_share_it(machine):
    assert machine(8, own=32) == 8


def test_a_shell_between_is_not_the_launcher(machine):
    assert machine(4, own=16, shell=True) == 16
    assert machine(4, own=64, shell=True) == 16


def test_a_launcher_that_may_use_a_part_of_the_machine(machine):
    assert machine(4, own=8, launcher=8) == 2


def test_more_ranks_than_processors_have_a_thread_each(machine):
    assert machine(100, own=64) == 1


def test_slurm_tells_what_a_job_has(machine, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "12")
    assert machine(4, own=12) == 3


def test_where_nothing_can_be_looked_at_the_own_processors_are_divided(
    machine, tmp_path
):
    (tmp_path / str(SHELL) / "stat").unlink()
    assert machine(4, own=16, shell=True) == 4


def test_a_process_alone_takes_all_it_may_use(machine, monkeypatch):
    machine(4, own=16)
    monkeypatch.setenv("PMI_SIZE", "1")
    assert processors.usual_threads() == 16
