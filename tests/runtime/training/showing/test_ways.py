"""What a run shows: which way, and what Caffe's lines, lines and the bar say."""

import io
import re
import sys
import time

import numpy as np
import pytest

import runtime
from netspec.errors import MachineError, SpecError
from netspec.notebooks import page_shell
from runtime.training.showing import shower
from runtime.training.showing.shower import way_of
from tests.runtime.training.test_solver import FIXED, TESTED, make

HEAD = re.compile(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ solver\.cpp:\d+\] ")
LOSS = re.compile(r"Iteration (\d+) \(\S+ iter/s, \S+s/(\d+) iters\), loss = (\S+)")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def log(capsys):
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert all(HEAD.match(line) for line in lines), lines
    return [HEAD.sub("", line) for line in lines]


def test_display_prints_caffes_lines(capsys):
    solver = make_portable(FIXED + "display: 3 average_loss: 2")
    solver.step(7)
    said = log(capsys)
    found = [LOSS.fullmatch(line) for line in said if LOSS.fullmatch(line)]
    assert [(int(m[1]), int(m[2])) for m in found] == [(0, 1), (3, 3), (6, 3)]
    shown = [float(m[3]) for m in found]
    exact = [solver.history.train[i].smoothed_loss for i in (0, 3, 6)]
    assert shown == pytest.approx(exact, rel=1e-5)
    outputs = [line for line in said if "Train net output" in line]
    loss = solver.history.train[6].loss
    assert outputs[-1].startswith(f"    Train net output #0: loss = {loss:.6g} (* 1 =")
    solver.step(3)
    assert [m[2] for m in map(LOSS.fullmatch, log(capsys)) if m] == ["3"]


def make_portable(options, **more):
    class Portable:
        name = "portable"

    return make(Portable, options=options, **more)


def test_solve_and_tests_are_in_the_log(capsys):
    solver = make_portable(TESTED + "display: 2")
    solver.solve()
    said = log(capsys)
    assert said[0] == "Solving noise"
    assert said[-1] == "Optimization Done."
    tests = [line for line in said if "Testing net (#0)" in line]
    assert len(tests) == len(solver.history.tests) > 1
    assert sum("Test net output #0: loss = " in line for line in said) == len(tests)
    solver.test()
    assert "Testing net" in log(capsys)[0]


@pytest.mark.parametrize("options", [TESTED, TESTED + "display: 0"])
def test_without_display_nothing_is_printed(options, capsys):
    solver = make_portable(options)
    solver.step(1)
    solver.solve()
    assert capsys.readouterr() == ("", "")


def test_false_is_silent_and_an_attribute_holds_for_all_runs(capsys):
    solver = make_portable(FIXED + "display: 1")
    solver.step(2, progress=False)
    solver.showing.progress = False
    solver.step(2)
    assert capsys.readouterr() == ("", "")
    solver.step(1, progress="log")
    assert len(log(capsys)) == 3


def test_a_log_that_was_asked_for_has_tests_without_display(capsys):
    make_portable(TESTED).step(1, progress="log")
    said = log(capsys)
    assert said[0] == "Iteration 0, Testing net (#0)"
    assert not any(map(LOSS.fullmatch, said))


def test_a_test_within_a_run_is_a_part_of_it(capsys):
    solver = make_portable(TESTED + "display: 100")
    solver.step(1, progress=False)

    @solver.on_step
    def look(record):
        solver.test(progress="lines")

    solver.step(1, progress="log")
    assert capsys.readouterr().out == ""


def test_progress_that_is_none_says_what_there_is():
    with pytest.raises(SpecError, match=r"progress is 'bars'.*'bar'.*expected True"):
        way_of("bars")
    with pytest.raises(SpecError, match="does not run in one; choose 'bar'"):
        way_of("notebook")
    with pytest.raises(SpecError, match="progress is 3"):
        make_portable(FIXED).step(1, progress=3)


def test_the_place_decides(monkeypatch):
    assert (way_of(None), way_of(None, 5), way_of(False, 5)) == ("", "log", "off")
    assert way_of(None, 0, script=True) == "log"
    assert way_of(True) == "lines"
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert way_of(True) == ("bar" if shower.has_tqdm() else "lines")
    assert way_of(None) == ""
    monkeypatch.setattr(shower, "page_shell", lambda: object())
    assert way_of(None, 5) == way_of(True) == "notebook"
    assert way_of("log") == "log"


def test_no_notebook_is_found_without_ipython_in_memory(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert page_shell() is None
    assert "IPython" not in sys.modules


def test_lines_tell_every_epoch_and_every_test(capsys):
    solver = make_portable(TESTED)
    solver.epoch_size = 2
    solver.solve(progress="lines")
    out = capsys.readouterr().out.splitlines()
    wholes = [re.match(r"epoch (\S+) of (\S+): loss ", x) for x in out]
    shown = [m[1] for m in wholes if m]
    end = solver.param.max_iter
    assert shown == [str(n) for n in range(1, end // 2 + 1)] + ["2.5"] * (end == 5)
    tests = [line for line in out if line.startswith("test at iteration")]
    assert len(tests) == len(solver.history.tests)


def test_lines_without_epochs_end_with_the_last_iteration(capsys):
    solver = make_portable(FIXED)
    solver.step(6, progress="lines")
    (line,) = capsys.readouterr().out.splitlines()
    last = solver.history.train[-1]
    assert line.startswith(f"iteration 6 of 6: loss {last.smoothed_loss:.4g}, lr 0.02")


def test_a_bar_counts_and_stays(capsys):
    pytest.importorskip("tqdm")
    solver = make_portable(TESTED)
    solver.solve(progress="bar")
    said = capsys.readouterr()
    end = solver.param.max_iter
    assert f"{end}/{end}, loss " in said.err
    assert said.out.count("test at iteration") == len(solver.history.tests)


def test_a_bar_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    solver = make_portable(FIXED)
    with pytest.raises(MachineError, match=r"netspec\[train\].*progress='lines'"):
        solver.step(3, progress="bar")
    assert solver.iter == 0
    solver.step(1)
    assert solver.iter == 1


def test_a_run_of_no_iterations_shows_nothing(capsys):
    solver = make_portable(FIXED + "display: 1")
    solver.step(0, progress="lines")
    solver.step(0)
    assert capsys.readouterr() == ("", "")


def test_how_a_run_ended_is_told(capsys):
    solver = make_portable(FIXED)
    solver.on_step(lambda record: solver.stop())
    solver.step(5, progress="lines")
    assert "stopped after iteration 1, ahead of 5" in capsys.readouterr().out
    nets = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    empty = runtime.get_solver(FIXED + f"max_iter: 3 net_param {{ {nets} }}")
    with pytest.raises(SpecError):
        empty.step(1, progress="lines")
    assert "ended after iteration 0 by SpecError: " in capsys.readouterr().out


def test_compiling_is_told(capsys):
    solver = make_portable(FIXED + "display: 1")
    compilation = solver.net.backend.compilation

    def before():
        if solver.iter % 2:
            for done in (0, 1, 2):
                compilation.tell(done, 2)

    solver.add_callback(before, lambda: None)
    solver.step(2)
    assert log(capsys).count("Compiling 2 kernels, once") == 1
    solver.step(2, progress="lines")
    assert "compiling kernels once, 0 of 2" in capsys.readouterr().out
    solver.step(2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_line_tells_the_time_of_compiling_apart(capsys, monkeypatch):
    monkeypatch.setattr("runtime.training.showing.lines.SHOWN_S", 0.001)
    solver = make_portable(FIXED)
    compilation = solver.net.backend.compilation

    def before():
        if solver.iter == 0:
            with compilation.taking_time():
                time.sleep(0.01)

    solver.add_callback(before, lambda: None)
    solver.step(1, progress="lines")
    assert ", and 0.01 s for compiling kernels once)" in capsys.readouterr().out
    solver.step(1, progress="lines")
    assert "compiling" not in capsys.readouterr().out


def test_a_reader_who_is_gone_ends_no_training(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", Gone())
    solver = make_portable(FIXED + "display: 1")
    for way in ("log", "lines", None):
        solver.step(2, progress=way)
    assert solver.iter == 6
    assert np.isfinite([r.loss for r in solver.history.train]).all()
