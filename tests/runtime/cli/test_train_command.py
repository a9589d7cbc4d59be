"""`python -m runtime train`: what it prints and leaves behind, and how it fails."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from netspec.errors import FileError
from runtime.__main__ import main
from runtime.execution import weights
from runtime.training import history, snapshot
from tests.runtime.cli.command_line import SOLVER, fail, start
from tests.runtime.training.test_solver import NOISE


def test_train_reports_and_leaves_its_files(folder, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["train", "--solver", "solver.prototxt", "--out", "made/out"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert re.search(r"training noise: 5 layers, 62 parameters, SGD on numpy", out)
    assert re.findall(r"^iteration (\d/6): loss", out, re.MULTILINE) == [
        "2/6",
        "4/6",
        "6/6",
    ]
    assert re.findall(r"^test at iteration (\d): loss", out, re.MULTILINE) == [
        "0",
        "3",
        "6",
    ]
    assert re.search(r"lr 0\.02, [\d,]+ images/s, [\d.]+ s left", out)
    for name in (
        "solver_iter_4.caffemodel",
        "solver_iter_6.caffemodel",
        "solver_iter_6.solverstate",
        "loss.svg",
        "log.csv",
    ):
        assert (folder / "made/out" / name).is_file()
    for named in ("solver_iter_6.caffemodel", "loss.svg", "log.csv"):
        assert f"made/out/{named}" in out
    log = (folder / "made/out/log.csv").read_text().splitlines()
    assert log[0] == "iteration,phase,name,value"
    assert sum(line.split(",")[1:3] == ["train", "loss"] for line in log) == 6
    assert sum(line.split(",")[1:3] == ["test", "loss"] for line in log) == 3


def test_train_without_progress_prints_no_iterations(folder, capsys):
    assert main(["train", "--solver", "solver.prototxt", "--no-progress"]) == 0
    assert "iteration 2/6" not in capsys.readouterr().out


def test_train_resumes_to_the_same_weights(trained, capsys):
    straight = (trained / "solver_iter_6.caffemodel").read_bytes()
    (trained / "solver_iter_6.caffemodel").unlink()
    arguments = ["train", "--solver", "solver.prototxt"]
    state = "solver_iter_4.solverstate"
    assert main([*arguments, "--snapshot", state, "--log", "log.jsonl"]) == 0
    assert (trained / "solver_iter_6.caffemodel").read_bytes() == straight
    rows = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [(row["iteration"], row["phase"]) for row in rows] == [
        (4, "train"),
        (5, "train"),
        (6, "test"),
    ]
    assert "iteration 4 to 6" in capsys.readouterr().out


def test_train_starts_from_weights_and_says_what_was_copied(trained, capsys):
    arguments = ["train", "--solver", "solver.prototxt", "--max-iter", "1"]
    assert main([*arguments, "--weights", "solver_iter_6.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert "weights from solver_iter_6.caffemodel: 2 layers copied\n" in out


def test_seed_changes_the_run(folder):
    arguments = ["train", "--solver", "solver.prototxt", "--no-progress"]
    models = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--seed", seed]) == 0
        models.append(Path("solver_iter_6.caffemodel").read_bytes())
    assert models[0] == models[1] != models[2]


def test_curve_is_written_as_numbers_without_matplotlib(folder, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["train", "--solver", "solver.prototxt", "--plot", "curve.png"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "matplotlib is not installed (extra netspec[plot])" in out
    assert re.search(r"^  curve +curve\.csv$", out, re.MULTILINE)
    assert Path("curve.csv").read_text().startswith("iteration,phase,name,value\n")


def test_loss_that_is_not_finite_ends_training_with_advice(folder, capsys):
    text = SOLVER.replace("base_lr: 0.02", "base_lr: 1e30").replace(
        "snapshot: 4", "snapshot: 1"
    )
    Path("solver.prototxt").write_text(text)
    arguments = ("train", "--solver", "solver.prototxt", "--log", "log.csv")
    error = fail(capsys, *arguments)
    assert re.search(
        r"loss of iteration \d is (nan|inf) at learning rate 1e\+30", error
    )
    last = re.search(r"the last snapshot is (\S+\.solverstate)", error).group(1)
    assert Path(last).is_file()
    assert "Lower base_lr" in error
    assert Path("log.csv").read_text().count("train,loss") >= 1


def test_full_disk_during_a_snapshot_is_one_line(folder, capsys, monkeypatch):
    save = weights.save

    def full_at_six(graph, params, path):
        if "iter_6" in str(path):
            raise FileError(f"{path}: cannot be written: No space left on device")
        save(graph, params, path)

    monkeypatch.setattr(weights, "save", full_at_six)
    error = fail(capsys, "train", "--solver", "solver.prototxt")
    assert "snapshot of iteration 6: solver_iter_6.caffemodel: cannot be" in error
    assert sorted(path.name for path in folder.glob("*_iter_*")) == [
        "solver_iter_4.caffemodel",
        "solver_iter_4.solverstate",
    ]


def test_log_on_a_disk_that_fills_up_stops_with_a_snapshot(folder, capsys, monkeypatch):
    add = history.Log.add

    def full_at_two(self, record):
        if record.iteration == 2:
            raise FileError("log.csv: cannot be written: No space left on device")
        add(self, record)

    monkeypatch.setattr(history.Log, "add", full_at_two)
    arguments = ("train", "--solver", "solver.prototxt", "--log", "log.csv")
    error = fail(capsys, *arguments)
    assert "training stopped after 3 iterations" in error
    assert "continue with --snapshot solver_iter_3.solverstate" in error
    assert Path("solver_iter_3.solverstate").is_file()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--log", "/dev/full"), "/dev/full: cannot be written: No space left"),
        (("--log", "lost/log.csv"), "lost/log.csv: cannot be written: lost is not a"),
        (
            ("--plot", "file/x.svg"),
            "file/x.svg: cannot be written: file is not a folder",
        ),
        (("--plot", "curve.gif"), "curve.gif: a curve's file must end in .svg, .png"),
        (("--plot", "made.svg"), "made.svg: is a folder; give the name of a file"),
        (("--out", "file"), "file: cannot be made a folder: File exists"),
        (("--out", "file/deeper"), "file/deeper: cannot be made a folder: Not a dir"),
        (("--weights", "lost.caffemodel"), "lost.caffemodel: the solver's weights"),
        (
            ("--snapshot", "lost.solverstate"),
            "lost.solverstate: cannot be read: No such",
        ),
        (("--weights", "a", "--snapshot", "b"), "--weights and --snapshot are both"),
    ],
)
def test_train_refuses_bad_options_before_it_starts(folder, capsys, arguments, message):
    Path("file").touch()
    Path("made.svg").mkdir()
    assert message in fail(capsys, "train", "--solver", "solver.prototxt", *arguments)
    assert not list(folder.glob("*_iter_*"))


def test_full_device_for_the_curve_comes_after_the_snapshot(folder, capsys):
    pytest.importorskip("matplotlib")
    Path("curve.svg").symlink_to("/dev/full")
    arguments = ("train", "--solver", "solver.prototxt", "--plot", "curve.svg")
    error = fail(capsys, *arguments)
    assert "curve.svg: cannot be written: No space left on device" in error
    assert Path("solver_iter_6.solverstate").is_file()


@pytest.mark.parametrize(
    "change, message",
    [
        (("max_iter: 6", ""), "solver.prototxt: max_iter is missing; add it, or use"),
        (("base_lr", "base_ lr"), r"solver.prototxt:2:"),
        (
            ("net: ", "nets: "),
            "SolverParameter has no field 'nets'; did you mean 'net'",
        ),
        (("net.prototxt", "lost.prototxt"), "lost.prototxt: the solver's net"),
        (("fixed", "fixd"), "lr_policy is 'fixd'; did you mean 'fixed'?"),
    ],
)
def test_train_refuses_bad_solvers(folder, capsys, change, message):
    Path("solver.prototxt").write_text(SOLVER.replace(*change))
    assert message in fail(capsys, "train", "--solver", "solver.prototxt")


def test_weights_that_fit_nothing_are_an_error(trained, capsys):
    other = NOISE.replace('"ip"', '"ip_"').replace('"out"', '"out_"')
    Path("net.prototxt").write_text(other)
    error = fail(
        capsys,
        *("train", "--solver", "solver.prototxt"),
        *("--weights", "solver_iter_6.caffemodel"),
    )
    assert "no layer of the file has the name of a layer with parameters" in error
    assert "the file has ip, out; --rename OLD=NEW gives one another name" in error


def test_layers_of_weight_files_get_other_names(trained, capsys):
    Path("net.prototxt").write_text(NOISE.replace('name: "ip"', 'name: "ip_"'))
    given = ("--weights", "solver_iter_6.caffemodel", "--rename", "ip=ip_")
    train = ["train", "--solver", "solver.prototxt", "--max-iter", "1"]
    for command in (train, ["test", "--model", "net.prototxt", "--iterations", "1"]):
        assert main([*command, *given]) == 0
        assert "2 layers copied; under other names: ip_ from ip\n" in (
            capsys.readouterr().out
        )
    error = fail(capsys, *train, *given, "--rename", "ipp=out")
    assert "names gives 'ipp' another name, which the file does not have" in error
    with pytest.raises(SystemExit):
        main([*train, "--rename", "ip"])
    assert "expected OLD=NEW, got 'ip'" in capsys.readouterr().err


def test_weights_of_other_shapes_are_an_error(trained, capsys):
    Path("net.prototxt").write_text(NOISE.replace("num_output: 6", "num_output: 9"))
    error = fail(
        capsys,
        *("train", "--solver", "solver.prototxt"),
        *("--snapshot", "solver_iter_4.solverstate"),
    )
    assert re.search(r"has shape \(6, 7\).*'ip' has shape \(9, 7\)", error)


# ---------------------------------------------------------------- interrupt

ENDLESS = SOLVER.replace("max_iter: 6", "max_iter: 100000000").replace(
    "snapshot: 4", "snapshot_after_train: false"
)


@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_interrupt_finishes_the_iteration_and_writes_a_snapshot(folder, number, status):
    Path("solver.prototxt").write_text(ENDLESS)
    command = ("train", "--solver", "solver.prototxt")
    with start(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("iteration 20/"):
                break
        process.send_signal(number)
        _, error = process.communicate()
    assert process.returncode == status
    found = re.fullmatch(
        r"interrupted: training stopped after (\d+) iterations; continue with "
        r"--snapshot solver_iter_(\d+)\.solverstate\n",
        error,
    )
    assert found, error
    assert found.group(1) == found.group(2)
    saved = snapshot.read_state(f"solver_iter_{found.group(1)}.solverstate")
    assert saved.iteration == int(found.group(1))
    assert Path(saved.learned_net).is_file()


def test_second_interrupt_aborts_at_once(folder, monkeypatch, capsys):
    Path("solver.prototxt").write_text(ENDLESS)

    def impatient(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    def interrupted_once(*_):
        if not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5

    stopped: list[bool] = []
    monkeypatch.setattr("runtime.execution.net.Net.loss", interrupted_once)
    monkeypatch.setattr(weights, "save", impatient)
    error = fail(capsys, "train", "--solver", "solver.prototxt", status=130)
    assert error == "error: interrupted\n"
    assert not list(folder.glob("*_iter_*"))
    assert not list(folder.glob(".*_iter_*"))


def test_training_goes_on_when_nobody_reads_its_lines(folder):
    text = SOLVER.replace("max_iter: 6", "max_iter: 3000")
    Path("solver.prototxt").write_text(text.replace("snapshot: 4", ""))
    command = ("train", "--solver", "solver.prototxt")
    with start(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        assert process.communicate() == (None, "")
    assert process.returncode == 1
    assert Path("solver_iter_3000.solverstate").is_file()


@pytest.mark.parametrize("columns", [100, 0])
def test_terminal_shows_a_bar(folder, columns):
    pytest.importorskip("tqdm")
    Path("solver.prototxt").write_text(SOLVER.replace("max_iter: 6", "max_iter: 3000"))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    command = ("train", "--solver", "solver.prototxt")
    with start(*command, stderr=slave, stdout=slave) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the command ends
            while piece := os.read(master, 4096):
                shown += piece
        os.close(master)
        assert process.wait() == 0
    bars = re.findall(r"\d+%\|[^|]+\| (\d+)/3000, loss [\d.e-]+, lr", shown.decode())
    assert bars, shown[-300:]
    assert b"test at iteration 3: loss" in shown
