"""Folders in which the commands of `python -m runtime` find what they need."""

import pytest

from runtime.__main__ import main
from tests.runtime.cli.command_line import SOLVER
from tests.runtime.training.test_solver import NOISE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a net and a solver, made the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NOISE)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


@pytest.fixture
def trained(folder):
    """The same after training."""
    assert main(["train", "--solver", "solver.prototxt", "--no-progress"]) == 0
    return folder
