"""`mpiexec -n N python -m runtime ...`: who speaks, who writes, and how all end."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from runtime.training.history import History
from runtime.training.snapshot import read_state
from tests.distributed.command_line import TRAIN, command, write_files
from tests.distributed.launching import at_once

# What a rank does in its ninth pass, how the job ends, and what is told first.
FAILURES = {
    "raise": (1, r"rank 1: raise comes\nrank 1: error: .*broken on purpose.*\n"),
    "exit": (1, r"rank 1: exit comes\n"),
    "kill": (9, ""),
    "nan": (1, r"error: .*loss.*nan.*\n"),
}
# Command lines, how they end, and what is told, once.
SAID = {
    (*TRAIN, "--max-itr", "3"): (2, r"python -m runtime: error: .*--max-itr.*\n"),
    ("train", "--solver", "gone"): (1, r"error: gone: cannot be read: .*\n"),
    (*TRAIN, "--max-iter", "3", "--log", "no/x.csv"): (1, r"error: no/x.csv: .*\n"),
    ("evaluat",): (2, r"python -m runtime: error: argument COMMAND: .*\n"),
    ("train", "--help"): (0, ""),
}


@pytest.fixture
def folder(tmp_path):
    write_files(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_rank_speaks_and_writes_and_another_number_goes_on(folder):
    words = (*TRAIN, "--max-iter", 10)
    whole = command(2, folder, *words, "--check-replicas", 2, "--out", "whole")
    assert whole.status == 0, whole.all
    assert whole.errors == ""
    assert "2 ranks x 6 = 12 images an iteration, as iter_size 2 of one" in whole.output
    assert whole.output.count("training small: ") == 1
    assert whole.output.count("snapshot at iteration 5: ") == 1
    assert whole.output.count("test at iteration 4: ") == 1
    assert whole.output.count("iteration 10/10: ") == 1
    assert whole.output.count("trained 10 iterations") == 1
    models = [f"s_iter_{n}.{end}" for n in (10, 5) for end in ("caffemodel", "solver")]
    expected = [name.replace("solver", "solverstate") for name in models]
    assert names(folder / "whole") == sorted(["log.csv", "loss.svg", *expected])
    history = History.read(folder / "whole" / "log.csv")
    assert [record.iteration for record in history.train] == list(range(10))

    state = "whole/s_iter_5.solverstate"
    rest = [*TRAIN, "--max-iter", 10, "--snapshot", state, "--no-progress"]
    again = command(2, folder, *rest, "--out", "again")
    assert again.status == 0, again.all
    for end in ("caffemodel", "solverstate"):
        name = f"s_iter_10.{end}"
        first = (folder / "whole" / name).read_bytes()
        second = (folder / "again" / name).read_bytes()
        assert first.replace(b"whole/", b"again/") == second

    three = command(3, folder, *rest, "--out", "three")
    assert three.status == 0, three.all
    assert read_state(folder / "three" / "s_iter_10.solverstate").iteration == 10


def test_what_all_ranks_say_is_said_once(folder):
    jobs = {words: partial(command, 2, folder, *words) for words in SAID}
    for words, ended in at_once(jobs).items():
        status, expected = SAID[words]
        assert ended.status == status, ended.all
        assert re.fullmatch(expected, ended.errors), ended.all
        assert ended.output.count("usage: ") == ("--help" in words)


def test_other_commands_run_on_one_rank_and_say_so(folder):
    words = ("check-gradients", "net.prototxt", "--allow-python", "failing")
    ended = command(3, folder, *words)
    assert ended.status == 0, ended.all
    assert ended.output.count("conv") == 2, ended.all
    assert ended.errors.count("note: check-gradients runs in one process") == 1


def test_a_rank_that_fails_ends_the_job(tmp_path):
    jobs, words = {}, (*TRAIN, "--max-iter", 100_000)
    for how in FAILURES:
        folder = tmp_path / how
        folder.mkdir()
        write_files(folder)
        jobs[how] = partial(command, 2, folder, *words, fail=f"{how} 1 9")
    for how, ended in at_once(jobs).items():
        status, told = FAILURES[how]
        assert ended.status == status, ended.all
        lines = [line for line in ended.errors.splitlines() if line.strip()]
        assert re.match(told, "".join(f"{line}\n" for line in lines)), ended.all
        state = read_state(tmp_path / how / "s_iter_5.solverstate")
        assert state.iteration == 5
        assert all(np.isfinite(values).all() for values in state.history)
