"""Compiling kernels is told on a terminal, and is no part of the speed shown."""

import contextlib
import os
import pty
import re
from pathlib import Path

import pytest

import runtime
from runtime.backends.portable import PortableBackend
from runtime.cli import compiling
from runtime.cli.compiling import Compiling
from runtime.cli.progress import Progress
from tests.runtime.cli.command_line import start

pytest.importorskip("numba")


def test_the_time_of_compiling_is_taken_and_its_end_clears_the_line(monkeypatch):
    clock = iter([10.0, 12.0, 15.5, 20.0, 20.25])
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: next(clock))
    shown = []
    backend = PortableBackend()
    with Compiling(backend, shown.append) as told:
        for done in (0, 1, 2):
            backend.told_of_compiling(done, 2)
        assert (told.seconds, told.take(), told.take()) == (5.5, 5.5, 0)
        for done in (0, 4):
            backend.told_of_compiling(done, 4)
        assert told.take() == 0.25
    assert backend.told_of_compiling is None
    said = "compiling kernels once, {} of {}".format
    assert shown == [said(0, 2), said(1, 2), "", said(0, 4), ""]


def test_an_error_while_compiling_clears_the_line():
    shown, backend = [], PortableBackend()
    with pytest.raises(RuntimeError), Compiling(backend, shown.append):
        backend.told_of_compiling(0, 3)
        raise RuntimeError
    assert shown[-1] == ""
    assert backend.told_of_compiling is None


def test_a_step_that_compiles_says_nothing_of_the_speed(folder, capsys):
    text = Path("solver.prototxt").read_text().replace("display: 2", "display: 1")
    text = text.replace("test_iter: 2 test_interval: 3", "")
    Path("solver.prototxt").write_text(text)
    solver = runtime.get_solver("solver.prototxt")
    progress = Progress(solver)
    for done in (0, 1):
        solver.net.backend.told_of_compiling(done, 1)
    solver.step(2)
    progress.close()
    assert solver.net.backend.told_of_compiling is None
    lines = [x for x in capsys.readouterr().out.splitlines() if "iteration " in x]
    first, second = (line for line in lines if line.startswith("iteration"))
    assert re.fullmatch(r"iteration 1/6: loss [\d.]+, lr 0.02", first)
    assert re.search(r"iteration 2/6: loss [\d.]+, lr 0.02, [\d,]+ images/s", second)


def on_terminal(*arguments):
    """Return what a command shows on a terminal."""
    master, slave = pty.openpty()
    with start(*arguments, stderr=slave, stdout=slave) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the command ends
            while piece := os.read(master, 4096):
                shown += piece
        os.close(master)
        assert process.wait() == 0
    return shown.decode()


@pytest.mark.parametrize("command", ["train", "time"])
def test_commands_tell_it_once_on_a_terminal(folder, tmp_path, monkeypatch, command):
    pytest.importorskip("tqdm")
    monkeypatch.setenv("NETSPEC_CACHE_DIR", str(tmp_path / "cache"))
    arguments = {
        "train": ("train", "--solver", "solver.prototxt"),
        "time": ("time", "--model", "net.prototxt", "--iterations", "1"),
    }[command]
    assert Path("net.prototxt").is_file()
    said = re.compile(r"compiling kernels once, (\d+) of (\d+)")
    told = said.findall(on_terminal(*arguments))
    assert told
    assert told[0][0] == "0"
    assert not said.search(on_terminal(*arguments))
