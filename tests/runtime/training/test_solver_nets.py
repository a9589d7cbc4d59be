"""`runtime.Solver`: the nets that it names, and where its files go."""

import pytest

import runtime
from netspec.errors import FileError, SpecError
from netspec.schema import NetParameter, SolverParameter
from netspec.text import parse
from tests.runtime.training.test_solver import FIXED, NOISE, TESTED, make, solver_text


def test_nets_are_found_from_here_and_from_the_solvers_folder(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "net.prototxt").write_text(NOISE)
    (folder / "solver.prototxt").write_text(FIXED + 'net: "net.prototxt"')
    monkeypatch.chdir(tmp_path)
    assert runtime.get_solver("models/solver.prototxt").net.name == "noise"
    (tmp_path / "net.prototxt").write_text(NOISE.replace('"noise"', '"here"'))
    assert runtime.get_solver("models/solver.prototxt").net.name == "here"
    assert runtime.get_solver(folder / "solver.prototxt").net.name == "here"


def test_solver_may_be_a_message(backend):
    message = parse(solver_text(), SolverParameter)
    solver = runtime.get_solver(message, backend=backend.name)
    solver.step(1)
    assert not message.HasField("snapshot_prefix")  # the caller's message is its own


def test_train_and_test_nets_may_be_different_ones(backend, tmp_path):
    (tmp_path / "test.prototxt").write_text(NOISE.replace('"noise"', '"file"'))
    param = parse(FIXED + "test_iter: 1 test_iter: 2 test_interval: 5", SolverParameter)
    param.train_net_param.CopyFrom(parse(NOISE, NetParameter))
    param.test_net.append(str(tmp_path / "test.prototxt"))
    param.test_net_param.add().CopyFrom(parse(NOISE, NetParameter))
    solver = runtime.get_solver(param, backend=backend.name)
    assert [net.name for net in solver.test_nets] == ["noise", "file"]
    assert [net.phase for net in solver.test_nets] == [runtime.TEST] * 2
    assert solver.net.phase == runtime.TRAIN


def test_snapshot_prefix_is_that_of_the_solver_file(tmp_path):
    path = tmp_path / "quick.prototxt"
    path.write_text(solver_text())
    assert runtime.get_solver(path).param.snapshot_prefix == str(tmp_path / "quick")
    (tmp_path / "snaps").mkdir()
    path.write_text(solver_text(options=FIXED + f'snapshot_prefix: "{tmp_path}/snaps"'))
    wanted = str(tmp_path / "snaps" / "quick")
    assert runtime.get_solver(path).param.snapshot_prefix == wanted


@pytest.mark.parametrize(
    "text, message",
    [
        (FIXED, "exactly one of net, net_param.*got none"),
        (solver_text() + ' net: "a"', "exactly one of.*got net and net_param"),
        (solver_text() + " test_iter: 2", "test_interval must be positive, got 0"),
        (
            solver_text() + " test_interval: 2 test_iter: -1",
            r"test_iter must not be negative, got \[-1\]",
        ),
        (
            solver_text() + ' test_interval: 2 test_net: "b"',
            "1 test nets are given and 0 test_iter",
        ),
        (
            solver_text() + "test_interval: 2 test_iter: 5 test_state {} test_state {}",
            "2 test_state for 1 test nets",
        ),
        (solver_text(options='lr_policy: "fixed"'), "'fixed' needs base_lr"),
        (solver_text() + ' type: "Adams"', "unknown type 'Adams'; did you mean 'Adam'"),
    ],
)
def test_solver_that_cannot_be_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        runtime.get_solver(text)


def test_solver_without_max_iter_steps_but_does_not_solve(backend):
    solver = make(backend)
    solver.step(1)
    with pytest.raises(SpecError, match="max_iter is missing; say how long"):
        solver.solve()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileError, match=r"nowhere\.prototxt: cannot be read: No such"):
        runtime.get_solver(tmp_path / "nowhere.prototxt")
    path = tmp_path / "solver.prototxt"
    path.write_text(FIXED + 'net: "lost.prototxt"')
    with pytest.raises(
        FileError, match=rf"lost\.prototxt: the solver's net is neither in .*{tmp_path}"
    ):
        runtime.get_solver(path)
    path.write_text(solver_text() + ' weights: "lost.caffemodel"')
    with pytest.raises(FileError, match="lost.caffemodel: the solver's weights"):
        runtime.get_solver(path)


def test_unwritable_prefix_is_told_before_training(backend, tmp_path):
    (tmp_path / "file").touch()
    options = TESTED + f'snapshot: 3 snapshot_prefix: "{tmp_path}/file/n"'
    solver = make(backend, options=options)
    with pytest.raises(FileError, match="snapshots cannot be written to .*file: "):
        solver.solve()
    assert solver.iter == 0
