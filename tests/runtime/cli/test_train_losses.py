"""`python -m runtime train` under signals and on disks that fail: nothing is lost."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from netspec.errors import FileError
from runtime.__main__ import main
from runtime.execution import weights
from runtime.training import snapshot
from tests.runtime.cli.command_line import SOLVER, fail, start
from tests.runtime.training.test_solver import NOISE

TRAIN = ("train", "--solver", "solver.prototxt")
ENDLESS = SOLVER.replace("max_iter: 6", "max_iter: 100000000").replace(
    "snapshot: 4", "snapshot_after_train: false"
)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_sighup_takes_a_snapshot_and_training_goes_on(folder):
    Path("solver.prototxt").write_text(ENDLESS)
    with start(*TRAIN, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        saved = []
        for line in process.stdout:
            if line.startswith("iteration 20/") or len(saved) == 1:
                process.send_signal(signal.SIGHUP)
            if found := re.match(r"snapshot at iteration (\d+): (\S+)", line):
                saved.append((int(found[1]), found[2]))
            if len(saved) == 2 and saved[1][0] > saved[0][0]:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    for iteration, name in saved:
        assert snapshot.read_state(name).iteration == iteration
    Path("solver.prototxt").write_text(
        SOLVER.replace("max_iter: 6", f"max_iter: {saved[0][0] + 2}")
    )
    assert main([*TRAIN, "--snapshot", saved[0][1]]) == 0


def test_handlers_are_those_of_before_when_training_ends(folder):
    numbers = [signal.SIGINT, signal.SIGTERM]
    numbers += [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
    before = [signal.getsignal(number) for number in numbers]
    assert main(TRAIN) == 0
    assert [signal.getsignal(number) for number in numbers] == before


def full_disk(monkeypatch, *iterations):
    save = weights.save

    def full(graph, params, path):
        if any(f"iter_{iteration}." in str(path) for iteration in iterations):
            raise FileError(f"{path}: cannot be written: No space left on device")
        save(graph, params, path)

    monkeypatch.setattr(weights, "save", full)


def test_a_snapshot_that_fails_is_told_and_training_goes_on(
    folder, capsys, monkeypatch
):
    full_disk(monkeypatch, 4)
    assert main(TRAIN) == 0
    out, error = capsys.readouterr()
    assert re.fullmatch(
        r"warning: snapshot of iteration 4: .*No space left on device; training goes "
        r"on, and the next one is tried again; no snapshot\n",
        error,
    )
    assert "solver_iter_6.solverstate" in out


def test_a_last_snapshot_that_fails_ends_with_an_error(folder, capsys, monkeypatch):
    full_disk(monkeypatch, 6)
    error = fail(capsys, *TRAIN)
    assert (
        "training is at iteration 6; continue from solver_iter_4.solverstate" in error
    )


def test_a_folder_that_is_removed_is_made_again(folder, monkeypatch):
    write = snapshot.write_snapshot

    def removed(*arguments, iteration, **more):
        if iteration == 6:
            shutil.rmtree("made")
        return write(*arguments, iteration=iteration, **more)

    monkeypatch.setattr("runtime.training.solver_files.write_snapshot", removed)
    arguments = ("--out", "made", "--log", "log.csv", "--plot", "loss.svg")
    assert main([*TRAIN, *arguments]) == 0
    assert sorted(path.name for path in Path("made").iterdir()) == [
        "solver_iter_6.caffemodel",
        "solver_iter_6.solverstate",
    ]


def test_a_resumed_run_has_no_line_of_its_log_twice(folder):
    logged = ("--log", "log.csv")
    assert main([*TRAIN, *logged]) == 0
    lines = without_times("log.csv")
    assert main([*TRAIN, *logged, "--snapshot", "solver_iter_4.solverstate"]) == 0
    assert without_times("log.csv") == lines
    assert main([*TRAIN, *logged, "--snapshot", "solver_iter_6.solverstate"]) == 0
    assert without_times("log.csv") == lines


def without_times(name):
    lines = Path(name).read_text().splitlines()
    return [line for line in lines if ",seconds," not in line]


def test_what_a_killed_run_left_is_removed(folder):
    left = Path(".solver_iter_2.caffemodel.abcdefgh.tmp")
    left.touch()
    other = Path(".other_iter_2.caffemodel.abcdefgh.tmp")
    other.touch()
    assert main(TRAIN) == 0
    assert (left.exists(), other.exists()) == (False, True)


def test_weights_for_a_state_and_a_state_for_weights(trained, capsys):
    state, model = "solver_iter_4.solverstate", "solver_iter_4.caffemodel"
    error = fail(capsys, *TRAIN, "--snapshot", model)
    assert f"{model}: holds weights, not the state of a solver" in error
    error = fail(capsys, *TRAIN, "--weights", state)
    assert f"{state}: is the state of a solver and holds no weights" in error


def test_a_net_without_a_loss_is_an_error(folder, capsys):
    net = NOISE.partition('layer { name: "loss"')[0]
    Path("net.prototxt").write_text(net)
    Path("solver.prototxt").write_text(
        SOLVER.replace("test_iter: 2", "").replace("test_interval: 3", "")
    )
    error = fail(capsys, *TRAIN, "--log", "log.csv")
    assert "net 'noise' has no loss" in error
    assert not list(folder.glob("*_iter_*"))
