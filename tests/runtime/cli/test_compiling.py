"""Compiling kernels is told on a terminal, and is no part of the speed shown."""

import contextlib
import os
import pty
import re
import time
from pathlib import Path

import pytest

import runtime
from runtime.backends.portable import PortableBackend
from runtime.cli.compiling import Compiling
from runtime.cli.progress import Progress
from tests.runtime.cli.command_line import start

pytest.importorskip("llvmlite")


def test_what_is_told_ends_in_an_empty_text():
    shown = []
    backend = PortableBackend()
    with Compiling(backend, shown.append):
        for done, total in ((0, 2), (1, 2), (2, 2), (0, 4), (4, 4)):
            backend.compilation.tell(done, total)
    said = "compiling kernels once, {} of {}".format
    assert shown == [said(0, 2), said(1, 2), "", said(0, 4), ""]
    backend.compilation.tell(0, 1)
    assert len(shown) == 5


def test_an_error_while_compiling_clears_the_line():
    shown, backend = [], PortableBackend()
    with (
        pytest.raises(RuntimeError),
        Compiling(backend, shown.append),
        backend.compilation.taking_time(),
    ):
        backend.compilation.tell(0, 3)
        raise RuntimeError
    assert shown == ["compiling kernels once, 0 of 3", ""]


def test_the_speed_shown_is_without_the_time_of_compiling(folder, capsys, monkeypatch):
    text = Path("solver.prototxt").read_text().replace("display: 2", "display: 1")
    Path("solver.prototxt").write_text(text)
    solver = runtime.get_solver("solver.prototxt", backend="portable")
    of_backend, run = solver.net.backend.compilation, type(solver.net)._run_forward

    def slow(net, first, last):
        with of_backend.taking_time():
            time.sleep(2)
        run(net, first, last)

    monkeypatch.setattr(type(solver.net), "_run_forward", slow)
    progress = Progress(solver)
    solver.step(1)
    progress.close()
    test, step = capsys.readouterr().out.splitlines()[:2]
    said = re.search(r"test at iteration 0: .* \(([\d.]+) s\)", test)
    assert float(said[1]) < 1
    said = re.search(
        r"iteration 1/6: loss [\d.]+, lr 0.02, [\d,]+ images/s, (.+)", step
    )
    assert float(re.fullmatch(r"([\d.]+) s left", said[1])[1]) < 5


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
