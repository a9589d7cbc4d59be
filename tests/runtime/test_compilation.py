"""Compiling is told and is no part of the time of what waits for it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from runtime import compilation
from runtime.backends.portable import PortableBackend
from runtime.compilation import Compilation
from runtime.training.history import History, Recorder
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SOLVER = """
base_lr: 0.01 lr_policy: "fixed" test_iter: 2 test_interval: 4 momentum: 0.5
net_param {
  layer { name: "x" type: "DummyData" top: "x" top: "t"
          dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 dim: 3 } } }
  layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
  layer { name: "s" type: "Sigmoid" bottom: "y" top: "s" }
  layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "t" top: "loss" }
}
"""


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only number is the time."""
    now = [100.0]
    monkeypatch.setattr(compilation.time, "perf_counter", lambda: now[0])
    return now


def test_the_clock_stands_while_it_compiles(clock):
    one = Compilation()
    start = one.clock()
    clock[0] += 2
    with one.taking_time():
        clock[0] += 5
        assert one.clock() - start == 2
        with one.taking_time():
            clock[0] += 7
        assert one.clock() - start == 2
    clock[0] += 0.5
    assert (one.clock() - start, one.seconds) == (2.5, 12)


def test_the_clock_goes_on_after_an_error(clock):
    one, told = Compilation(), []
    with (
        pytest.raises(KeyError),
        one.listen(lambda *n: told.append(n)),
        one.taking_time(),
    ):
        one.tell(0, 3)
        clock[0] += 4
        raise KeyError
    clock[0] += 1
    assert (one.seconds, told) == (4, [(0, 3), (3, 3)])
    assert one.clock() == 101


def test_records_of_iterations_are_without_it(clock):
    one, history = Compilation(), History()
    message = runtime.get_solver(SOLVER, backend="portable").param
    recorder = Recorder(history, message, one.clock)
    started = one.clock()
    with one.taking_time():
        clock[0] += 30
    clock[0] += 0.25
    assert recorder.add(0, 1.0, 0.1, started).seconds == 0.25


def test_a_run_books_no_compilation(clock, monkeypatch):
    """Compiling 50 seconds in each pass shows in no record of steps or tests."""
    solver = runtime.get_solver(SOLVER, backend="portable")
    of_backend = solver.net.backend.compilation
    run = type(solver.net)._run_forward

    def slow(net, first, last):
        clock[0] += 1
        with of_backend.taking_time():
            clock[0] += 50
        run(net, first, last)

    monkeypatch.setattr(type(solver.net), "_run_forward", slow)
    solver.step(3)
    assert [one.seconds for one in solver.history.train] == [1, 1, 1]
    assert [one.seconds for one in solver.history.tests] == [2]


def shown(monkeypatch, calls, *, terminal=True, notebook=False):
    """Return what is written for calls of (seconds, done, total)."""
    now, written = [0.0], []
    monkeypatch.setattr(compilation.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(compilation, "_on_terminal", lambda: terminal)
    monkeypatch.setattr(compilation, "page_shell", lambda: notebook or None)
    monkeypatch.setattr("builtins.print", lambda text, **options: written.append(text))
    line = compilation.Line()
    for seconds, done, total in calls:
        now[0] = seconds
        line(done, total)
    return written


def test_many_kernels_are_told_at_once_and_few_after_a_second(monkeypatch):
    clear = compilation.CLEAR_LINE
    said = f"{clear}compiling kernels once, {{}} of {{}}".format
    many = [(0, 0, 9), (5, 8, 9), (6, 9, 9)]
    assert shown(monkeypatch, many) == [said(0, 9), said(8, 9), clear]
    few = [(0, 0, 2), (0.5, 1, 2), (0.9, 2, 2)]
    assert shown(monkeypatch, few) == []
    slow = [(0, 0, 3), (0.5, 1, 3), (1.5, 2, 3), (2, 3, 3)]
    assert shown(monkeypatch, slow) == [said(2, 3), clear]


def test_nothing_is_shown_where_nobody_looks(monkeypatch):
    many = [(0, 0, 9), (5, 8, 9), (6, 9, 9)]
    assert shown(monkeypatch, many, terminal=False) == []


def test_a_notebook_keeps_how_many_there_were(monkeypatch):
    many = [(0, 0, 9), (6.1, 9, 9)]
    first, last = shown(monkeypatch, many, terminal=False, notebook=True)
    assert first == "\rcompiling kernels once, 0 of 9"
    assert last.strip() == "compiled 9 kernels once, in 6 s"
    assert len(last) > len(first)


def test_who_listens_is_told_in_the_place_of_the_line(monkeypatch):
    written = []
    monkeypatch.setattr(compilation, "_write", written.append)
    one, told = PortableBackend().compilation, []
    with one.listen(lambda *n: told.append(n)):
        one.tell(0, 9)
        one.tell(9, 9)
    assert (told, written) == ([(0, 9), (9, 9)], [])
    one.tell(0, 9)
    assert len(written) == 1


def test_a_script_tells_it_on_a_terminal_and_books_it_nowhere(tmp_path):
    pytest.importorskip("llvmlite")
    code = f"""
import sys, time
import runtime
s = runtime.get_solver({SOLVER!r})
start = time.perf_counter()
s.step(2)
took = time.perf_counter() - start
booked = sum(r.seconds for r in s.history.train) + s.history.tests[0].seconds
print(took, booked, s.net.backend.compilation.seconds)
"""
    environment = {**os.environ, "NETSPEC_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]

    def run(stderr):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
        return [float(one) for one in done.stdout.split()]

    master, slave = pty.openpty()
    took, booked, compiling = run(slave)
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 4096):
            said += piece
    os.close(master)
    assert re.search(rb"compiling kernels once, 0 of \d+", said)
    assert said.endswith(compilation.CLEAR_LINE.encode())
    assert compiling > 0.5
    assert booked < took - 0.5 * compiling
    assert booked < 0.25 * compiling
    assert run(subprocess.PIPE)[2] < compiling
