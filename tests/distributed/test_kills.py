"""A rank that is killed ends the job; what the job wrote goes on to the same end."""

from __future__ import annotations

import random
import sys

import pytest

from tests.distributed.launching import environment, mpiexec
from tools.kill_rank import MORE, finish, kill_one, last_of, results, write_files

KILLS, RANKS = 2, 2


@pytest.mark.skipif(sys.platform != "linux", reason="ranks are found in /proc")
def test_ranks_killed_at_random_moments_change_nothing(tmp_path, monkeypatch):
    mpiexec()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        write_files(folder)
    rng = random.Random(3)
    for _ in range(KILLS):
        kill_one(killed, RANKS, rng)
    last = last_of(killed) + MORE
    finish(killed, RANKS, last)
    finish(whole, RANKS, last)
    assert results(killed) == results(whole)
