"""`python -m runtime compile` leaves nothing to compile for those who come later."""

import pytest

pytest.importorskip("llvmlite")

from runtime.__main__ import main
from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu import table as kernel_table
from tests.runtime.cli.command_line import fail

FEW = ("fill", "relu", "multiply")


@pytest.fixture
def few(monkeypatch):
    """The command with three small kernels and those of threads in the place of all."""
    from runtime.backends.cpu.layers import elementwise

    kernels = [getattr(elementwise, name) for name in FEW]
    monkeypatch.setattr(kernel_table, "all_kernels", lambda: kernels)


def test_all_kernels_are_those_that_layers_and_rules_have():
    names = {one.function.__name__ for one in kernel_table.all_kernels()}
    assert {"fill", "relu", "sgd", "winograd", "log_loss", "maximum"} <= names
    assert len(names) > 80


def test_what_is_compiled_is_there_afterwards(few, capsys):
    assert main(["compile", "--threads", "1"]) == 0
    assert " of 6 kernels compiled in " in capsys.readouterr().out
    assert main(["compile"]) == 0
    assert capsys.readouterr().out.startswith("0 of 6 kernels compiled")


def test_what_hinders_is_said(monkeypatch, capsys):
    assert "--threads is 0" in fail(capsys, "compile", "--threads", "0")
    monkeypatch.setattr(CpuBackend, "lacks", ("there is none", "pip install it"))
    said = fail(capsys, "compile")
    assert "kernels cannot be compiled, as there is none: pip install it" in said
