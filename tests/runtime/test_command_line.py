"""`python -m runtime`: what every command prints, and how each one fails."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from netspec.errors import FileError
from runtime import history, snapshot, weights
from runtime.__main__ import main
from tests.runtime.test_solver import NOISE

ROOT = Path(__file__).resolve().parents[2]
SOLVER = """
net: "net.prototxt" base_lr: 0.02 lr_policy: "fixed" momentum: 0.8
max_iter: 6 test_iter: 2 test_interval: 3 display: 2 snapshot: 4
"""
ERROR = re.compile(r"error: [^\n]+\n")  # one line, and no traceback


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


def fail(capsys, *arguments, status=1) -> str:
    """Run a command that must fail with one line; return it."""
    capsys.readouterr()
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert ERROR.fullmatch(error), error
    return error


def start(*arguments: str, **more) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "runtime", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        text=True,
        **{"stderr": subprocess.PIPE, **more},
    )


# ---------------------------------------------------------------- train


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

    def full_at_six(net, path):
        if "iter_6" in str(path):
            raise FileError(f"{path}: cannot be written: No space left on device")
        save(net, path)

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
    assert "the file has ip, out" in error


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
    process = start("train", "--solver", "solver.prototxt", stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("iteration 20/"):
            break
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
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
    monkeypatch.setattr("runtime.net.Net.loss", interrupted_once)
    monkeypatch.setattr(weights, "save", impatient)
    error = fail(capsys, "train", "--solver", "solver.prototxt", status=130)
    assert error == "error: interrupted\n"
    assert not list(folder.glob("*_iter_*"))
    assert not list(folder.glob(".*_iter_*"))


def test_training_goes_on_when_nobody_reads_its_lines(folder):
    text = SOLVER.replace("max_iter: 6", "max_iter: 3000")
    Path("solver.prototxt").write_text(text.replace("snapshot: 4", ""))
    process = start("train", "--solver", "solver.prototxt", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=30) == (None, "")
    assert process.returncode == 1
    assert Path("solver_iter_3000.solverstate").is_file()


@pytest.mark.parametrize("columns", [100, 0])
def test_terminal_shows_a_bar(folder, columns):
    pytest.importorskip("tqdm")
    Path("solver.prototxt").write_text(SOLVER.replace("max_iter: 6", "max_iter: 3000"))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = start("train", "--solver", "solver.prototxt", stderr=slave, stdout=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the command ends
        while piece := os.read(master, 4096):
            shown += piece
    os.close(master)
    assert process.wait(timeout=30) == 0
    bars = re.findall(r"\d+%\|[^|]+\| (\d+)/3000, loss [\d.e-]+, lr", shown.decode())
    assert bars, shown[-300:]
    assert b"test at iteration 3: loss" in shown


# ---------------------------------------------------------------- test


def test_test_prints_the_mean_of_every_output(trained, capsys):
    capsys.readouterr()
    arguments = ["test", "--model", "net.prototxt", "--iterations", "4"]
    assert main([*arguments, "--weights", "solver_iter_6.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^4 batches of 5 in [\d.]+ s \([\d,]+ images/s\)$", out, re.M)
    loss = re.search(r"^loss = ([\d.]+) \(loss, weight 1\)$", out, re.MULTILINE)
    assert f"objective = {loss.group(1)}\n" in out


def test_test_lists_small_outputs_and_sums_up_large_ones(trained, capsys):
    net = NOISE + (
        'layer { name: "small" type: "Reshape" bottom: "y" top: "small" '
        "reshape_param { shape { dim: 10 } } }"
        'layer { name: "large" type: "DummyData" top: "large" '
        "dummy_data_param { shape { dim: 101 } data_filler { value: 1.5 } } }"
    )
    Path("net.prototxt").write_text(net)
    capsys.readouterr()
    arguments = ["test", "--model", "net.prototxt", "--iterations", "2"]
    assert main([*arguments, "--weights", "solver_iter_6.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^small\[\d\] = ", out, re.MULTILINE)) == 10
    assert "large (101,): mean 1.5\n" in out


def test_test_refuses_a_net_that_nothing_feeds(trained, capsys):
    net = NOISE.replace(
        'type: "DummyData" top: "x" top: "t"', 'type: "Input" top: "x" top: "t"'
    ).replace("dummy_data_param", "input_param")
    net = re.sub(r"data_filler \{[^}]*\}", "", net)
    Path("net.prototxt").write_text(net)
    error = fail(
        capsys,
        *("test", "--model", "net.prototxt"),
        *("--weights", "solver_iter_6.caffemodel"),
    )
    assert "nothing feeds the net's inputs x, t; test needs a net with a data" in error


@pytest.mark.parametrize(
    "model, weight_file, message",
    [
        ("lost.prototxt", "solver_iter_6.caffemodel", "lost.prototxt: cannot be read"),
        ("net.prototxt", "lost.caffemodel", "lost.caffemodel: cannot be read: No such"),
        ("net.prototxt", "solver.prototxt", "solver.prototxt: is no weight file"),
        ("broken.prototxt", "solver_iter_6.caffemodel", "broken.prototxt:1:"),
    ],
)
def test_test_refuses_bad_files(trained, capsys, model, weight_file, message):
    Path("broken.prototxt").write_text("layer { name: ")
    arguments = ("test", "--model", model, "--weights", weight_file)
    assert message in fail(capsys, *arguments)


# ---------------------------------------------------------------- time, check, devices


def test_time_prints_a_row_for_every_layer(folder, capsys):
    assert main(["time", "--model", "net.prototxt", "--iterations", "3"]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(\S+) +(\S+) +[\d.]+ +[\d.]+ +[\d.]+%$", out, re.MULTILINE)
    assert rows == [
        ("data", "DummyData"),
        ("ip", "InnerProduct"),
        ("drop", "Dropout"),
        ("out", "InnerProduct"),
        ("loss", "EuclideanLoss"),
    ]
    assert re.search(r"^mean of 3 passes on numpy: [\d.]+ ms for 5 images", out, re.M)


def test_time_refuses_a_missing_net(folder, capsys):
    assert "lost.prototxt" in fail(capsys, "time", "--model", "lost.prototxt")


def test_check_describes_the_net_of_both_phases(folder, capsys):
    assert main(["check", "net.prototxt"]) == 0
    assert capsys.readouterr().out == (
        "net.prototxt: noise\n"
        "  TRAIN: 5 layers, 62 parameters; data data (DummyData); outputs loss; losses "
        "loss\n"
        "  TEST: 5 layers, 62 parameters; data data (DummyData); outputs loss; losses "
        "loss\n"
    )


def test_check_says_what_is_wrong_in_which_phase(folder, capsys):
    rule = "include { phase: TEST } inner_product_param { num_output: 3 } }"
    Path("net.prototxt").write_text(
        NOISE
        + f'layer {{ name: "extra" type: "InnerProduct" bottom: "z" top: "w" {rule}'
    )
    capsys.readouterr()
    assert main(["check", "net.prototxt"]) == 1
    shown = capsys.readouterr()
    assert "  TRAIN: 5 layers" in shown.out
    assert "  TEST: cannot be built" in shown.out
    assert re.fullmatch(r"error: layer 'extra' .*'z'.*\n", shown.err)


DATABASE = """
layer { name: "data" type: "Data" top: "x" top: "t"
        data_param { source: "lost" batch_size: 4 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 } }
"""


def test_check_without_the_data_needs_its_shapes(folder, capsys):
    pytest.importorskip("lmdb")
    Path("net.prototxt").write_text(DATABASE)
    assert "layer 'data' (Data): the shapes of its" in fail(
        capsys, "check", "net.prototxt"
    )
    shapes = ("--shape", "x=4,2,5,5", "--shape", "t=4")
    assert main(["check", "net.prototxt", *shapes]) == 0
    assert "TRAIN: 2 layers, 153 parameters; data data" in capsys.readouterr().out


def test_check_notes_a_database_that_is_not_there(folder, capsys):
    pytest.importorskip("lmdb")
    crop = "transform_param { crop_size: 5 force_color: true } data_param"
    Path("net.prototxt").write_text(DATABASE.replace("data_param", crop))
    assert main(["check", "net.prototxt"]) == 0
    out = capsys.readouterr().out
    assert "TEST: 2 layers, 228 parameters" in out
    assert "    note: layer 'data' (Data): database lost does not exist\n" in out


def test_check_names_a_layer_without_arithmetic(folder, capsys):
    Path("net.prototxt").write_text(
        NOISE + 'layer { name: "odd" type: "DetectionOutput" bottom: "y" bottom: "y" '
        'bottom: "y" top: "z" detection_output_param { num_classes: 2 } }'
    )
    assert "layer 'odd' (DetectionOutput)" in fail(capsys, "check", "net.prototxt")


def test_devices_lists_backends_and_libraries(capsys):
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^numpy: .*\d+ cores", out, re.MULTILINE)
    assert re.search(r"^cupy: ", out, re.MULTILINE)
    assert re.search(r"^protobuf: \d", out, re.MULTILINE)


def test_missing_device_is_one_line(folder, capsys):
    pytest.importorskip("numpy")
    try:
        import cupy  # noqa: F401
    except ImportError:
        arguments = ("time", "--model", "net.prototxt", "--backend", "cupy")
        assert "install the extra netspec[cuda]" in fail(capsys, *arguments)
    else:
        pytest.skip("CuPy is installed")


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "the following arguments are required: COMMAND"),
        (("trian",), "invalid choice: 'trian'"),
        (("train",), "the following arguments are required: --solver"),
        (("train", "--solver", "s", "--max-iter", "0"), "a number above 0, got '0'"),
        (("check", "n", "--shape", "x=4,a"), "as in data=1,3,224,224; got 'x=4,a'"),
        (("time", "--model", "n", "--phase", "tset"), "invalid choice: 'TSET'"),
        (("train", "--solver", "s", "--backend", "torch"), "invalid choice: 'torch'"),
    ],
)
def test_bad_command_line_is_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert re.fullmatch(r"python -m runtime.*: error: .* \(see --help\)\n", error)


@pytest.mark.parametrize("command", [(), ("train",), ("test",), ("time",), ("check",)])
def test_help_is_there(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: python -m runtime" in capsys.readouterr().out


def test_full_standard_output_is_one_line(folder):
    with Path("/dev/full").open("w") as full:
        process = start("check", "net.prototxt", stdout=full)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error == "error: No space left on device\n"
