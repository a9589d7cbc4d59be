"""`mpiexec -n N python -m runtime ...`: who speaks, who writes, and how all end."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from runtime.training.history import History
from runtime.training.snapshot import read_state
from tests.distributed.command_line import TRAIN, command, write_files

FIT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [6, 5] } } }
layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 6 } } }
layer { name: "h" type: "InnerProduct" bottom: "x" top: "h"
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "h" top: "h" }
layer { name: "s" type: "InnerProduct" bottom: "h" top: "s"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "s" bottom: "y" top: "loss" }
"""


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


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        ((*TRAIN, "--max-itr", 3), 2, r"python -m runtime: error: .*--max-itr.*\n"),
        (("train", "--solver", "gone"), 1, r"error: gone: cannot be read: .*\n"),
        ((*TRAIN, "--max-iter", 3, "--log", "no/x.csv"), 1, r"error: no/x.csv: .*\n"),
        (("evaluat",), 2, r"python -m runtime: error: argument COMMAND: .*\n"),
        (("train", "--help"), 0, ""),
    ],
)
def test_what_all_ranks_say_is_said_once(folder, words, status, expected):
    ended = command(2, folder, *words)
    assert ended.status == status, ended.all
    assert re.fullmatch(expected, ended.errors), ended.all
    assert ended.output.count("usage: ") == ("--help" in words)


def test_other_commands_run_on_one_rank_and_say_so(folder):
    words = ("check-gradients", "net.prototxt", "--allow-python", "failing")
    ended = command(3, folder, *words)
    assert ended.status == 0, ended.all
    assert ended.output.count("conv") == 2, ended.all
    assert ended.errors.count("note: check-gradients runs in one process") == 1


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("raise", 1, r"rank 1: raise comes\nrank 1: error: .*broken on purpose.*\n"),
        ("exit", 1, r"rank 1: exit comes\n"),
        ("kill", 9, ""),
        ("nan", 1, r"error: .*loss.*nan.*\n"),
    ],
)
def test_a_rank_that_fails_ends_the_job(folder, how, status, told):
    ended = command(2, folder, *TRAIN, "--max-iter", 100_000, fail=f"{how} 1 9")
    assert ended.status == status, ended.all
    lines = "".join(f"{line}\n" for line in ended.errors.splitlines() if line.strip())
    assert re.match(told, lines), ended.all
    state = read_state(folder / "s_iter_5.solverstate")
    assert state.iteration == 5
    assert all(np.isfinite(values).all() for values in state.history)


def test_fit_runs_on_all_ranks(folder):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(36, 5)).astype(np.float32), np.arange(36) % 4
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "fit.prototxt").write_text(FIT)
    words = ("fit", "fit.prototxt", "--data", "data.npz", "--epochs", 3, "--out", "o")
    ended = command(2, folder, *words, "--sync-batch-norm")
    assert ended.status == 0, ended.all
    assert ended.errors == ""
    assert "2 ranks x 6 = 12 images an iteration" in ended.output
    assert ended.output.count("trained 9 iterations") == 1
    assert [name for name in names(folder / "o") if name.endswith("iter_9.caffemodel")]
