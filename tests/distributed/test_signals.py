"""Signals to `mpiexec` and to a rank: all ranks do the same, after one iteration."""

from __future__ import annotations

import os
import re
import signal
import sys

import numpy as np
import pytest

from runtime.training.snapshot import read_state
from tests.distributed.command_line import TRAIN, write_files
from tests.distributed.launching import start
from tools.kill_rank import ranks_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
FOR_EVER = ["-m", "runtime", *TRAIN, "--max-iter", "10000000"]


@pytest.fixture
def folder(tmp_path):
    write_files(tmp_path)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(solver.read_text().replace("snapshot: 5 ", ""))
    return tmp_path


def read_until(job, text):
    """Read lines up to one with a text; return that."""
    while text not in (line := job.stdout.readline()):
        assert line, job.communicate()
    return line


def test_one_snapshot_on_request_and_one_at_the_end(folder):
    with start(2, FOR_EVER, folder=folder) as job:
        read_until(job, "iteration 5")
        job.send_signal(signal.SIGUSR1)
        told = read_until(job, "snapshot at iteration")
        read_until(job, "iteration ")  # it goes on
        job.send_signal(signal.SIGINT)
        output, errors = job.communicate()
    assert job.returncode == 130, (output, errors)
    assert output.count("snapshot at iteration") == 1
    last = re.search(
        r"interrupted: training stopped after (\d+) iterations; continue with "
        r"--snapshot (\S+)\n",
        errors,
    )
    assert errors.count("interrupted: ") == 1, errors
    states = sorted(path.name for path in folder.glob("*.solverstate"))
    first = re.search(r"s_iter_\d+\.solverstate", told).group()
    assert states == sorted([first, last.group(2)])
    saved = read_state(folder / last.group(2))
    assert saved.iteration == int(last.group(1))
    assert all(np.isfinite(values).all() for values in saved.history)


@pytest.mark.skipif(sys.platform != "linux", reason="ranks are found in /proc")
def test_a_signal_that_one_rank_gets_ends_all(folder):
    with start(3, FOR_EVER, folder=folder) as job:
        read_until(job, "iteration 5")
        os.kill(ranks_of(job.pid)[2], signal.SIGUSR2)
        output, errors = job.communicate()
    assert job.returncode == 128 + signal.SIGUSR2, (output, errors)
    assert errors.count("interrupted: training stopped after") == 1, errors
    assert len(list(folder.glob("*.solverstate"))) == 1
