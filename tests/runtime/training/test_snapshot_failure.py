"""Snapshots that cannot be written, and what interrupts and kills leave."""

import shutil

import pytest

from netspec.errors import FileError
from netspec.files import replacing
from runtime.execution import weights
from runtime.training.snapshot_files import SnapshotWarning
from tests.runtime.training.test_snapshot import make
from tests.runtime.training.test_solver import assert_same, values

# Few iterations, whose statistics are young.
pytestmark = pytest.mark.filterwarnings("ignore:.*this test uses means")


def fail_with_full_disk(*_):
    raise FileError("n.caffemodel: cannot be written: No space left on device")


def test_full_disk_leaves_the_older_snapshot_whole(backend, tmp_path, monkeypatch):
    solver = make(backend, tmp_path)
    solver.step(2)
    old = solver.snapshot()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 2
    solver._iteration = 1  # so that the next step writes the same names
    solver.step(1)
    monkeypatch.setattr(weights, "save", fail_with_full_disk)
    with pytest.raises(FileError, match="snapshot of iteration 2: .*No space left"):
        solver.snapshot()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    assert solver.last_snapshot == old
    make(backend, tmp_path).restore(old.state)


def test_state_takes_its_name_only_after_the_model(backend, tmp_path, monkeypatch):
    seen = []

    def save(graph, params, path):
        seen.append(sorted(one.name[:9] for one in tmp_path.iterdir()))
        with replacing(path) as file:
            file.write(b"model")

    monkeypatch.setattr(weights, "save", save)
    solver = make(backend, tmp_path)
    solver.step(1)
    solver.snapshot()
    assert seen == [[".n_iter_1"]]  # a temporary file
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        ".caffemodel",
        ".solverstate",
    ]


def test_interrupt_while_writing_leaves_no_rubbish(backend, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "save", interrupted)
    solver = make(backend, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        solver.snapshot()
    assert list(tmp_path.iterdir()) == []


def test_full_device_is_an_error(backend, tmp_path):
    solver = make(backend, tmp_path)
    (tmp_path / "n_iter_0.solverstate").symlink_to("/dev/full")
    with pytest.raises(FileError, match="iteration 0: .*No space left on device"):
        solver.snapshot()
    # Nothing takes the name of a model whose state cannot be written.
    assert [path.name for path in tmp_path.iterdir()] == ["n_iter_0.solverstate"]


def full_disk(monkeypatch, *iterations):
    """Let snapshots of some iterations fail."""
    save = weights.save

    def full(graph, params, path):
        if any(f"iter_{iteration}." in str(path) for iteration in iterations):
            raise FileError(f"{path}: cannot be written: No space left on device")
        save(graph, params, path)

    monkeypatch.setattr(weights, "save", full)


def test_training_goes_on_where_a_snapshot_fails(backend, tmp_path, monkeypatch):
    full_disk(monkeypatch, 4)
    straight = make(backend, tmp_path / "other")
    straight.step(6)
    solver = make(backend, tmp_path, extra="snapshot: 2 max_iter: 6")
    with pytest.warns(
        SnapshotWarning,
        match=r"iteration 4: .*No space left.*; training goes on, and the next one is "
        r"tried again; the last snapshot is \S*n_iter_2.solverstate",
    ) as caught:
        solver.solve()
    assert caught[0].filename == __file__
    assert [one.iteration for one in solver.history.snapshots] == [2, 6]
    assert_same(values(straight), values(solver))


def test_a_last_snapshot_that_fails_says_what_to_go_on_from(
    backend, tmp_path, monkeypatch
):
    full_disk(monkeypatch, 5)
    solver = make(backend, tmp_path, extra="snapshot: 2 max_iter: 5")
    with pytest.raises(
        FileError,
        match=r"No space left on device; training is at iteration 5; continue from "
        r"\S*n_iter_4.solverstate",
    ):
        solver.solve()
    first = make(backend, tmp_path / "first", extra="max_iter: 5")
    with pytest.raises(FileError, match="at iteration 5; there is no older one"):
        first.solve()


def test_what_could_not_be_written_is_tried_at_the_end(backend, tmp_path, monkeypatch):
    full_disk(monkeypatch, 4)
    options = "snapshot: 4 max_iter: 5 snapshot_after_train: false"
    solver = make(backend, tmp_path, extra=options)
    with pytest.warns(SnapshotWarning, match="iteration 4"):
        solver.solve()
    assert solver.last_snapshot.iteration == 5


@pytest.mark.parametrize("what", ["removed", "a file"])
def test_a_folder_that_went_away(backend, tmp_path, what):
    folder = tmp_path / "snaps"
    solver = make(backend, folder, extra="snapshot: 2 max_iter: 6")
    solver.step(2)
    assert solver.last_snapshot.iteration == 2
    shutil.rmtree(folder)
    if what == "a file":
        folder.touch()
        with pytest.warns(SnapshotWarning, match="iteration 4: .*snaps"):
            solver.step(2)
        folder.unlink()
    solver.step(4)
    assert solver.last_snapshot.iteration == solver.iter
    assert solver.last_snapshot.state.is_file()


def leave_behind(folder, name):
    path = folder / name
    path.write_bytes(b"half a snapshot")
    return path


def test_what_killed_processes_left_is_removed_at_the_start(backend, tmp_path):
    solver = make(backend, tmp_path, extra="max_iter: 1")
    ours = [
        leave_behind(tmp_path, ".n_iter_3.caffemodel.a8_kqpz1.tmp"),
        leave_behind(tmp_path, ".n_iter_40.solverstate.h5.zzzzzzzz.tmp"),
    ]
    others = [
        leave_behind(tmp_path, ".nn_iter_3.caffemodel.a8_kqpz1.tmp"),
        leave_behind(tmp_path, ".n_iter_3.caffemodel.a8_kqpz1"),
        leave_behind(tmp_path, ".n_iter_x.caffemodel.a8_kqpz1.tmp"),
        leave_behind(tmp_path, "n_iter_3.caffemodel.a8_kqpz1.tmp"),
        leave_behind(tmp_path, ".n_iter_3.log.a8_kqpz1.tmp"),
    ]
    (tmp_path / ".n_iter_5.caffemodel.a8_kqpz1.tmp").mkdir()
    with replacing(tmp_path / "n_iter_7.caffemodel") as file:
        file.write(b"by a process that lives")
        solver.solve()
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)
    assert (tmp_path / "n_iter_7.caffemodel").read_bytes() == b"by a process that lives"


def test_history_drops_what_is_done_again(backend, tmp_path):
    straight, solver = make(backend, tmp_path / "x"), make(backend, tmp_path)
    straight.step(7)
    solver.step(4)
    state = solver.snapshot().state
    solver.step(3)
    solver.snapshot()
    solver.restore(state)
    assert [record.iteration for record in solver.history.train] == [0, 1, 2, 3]
    assert [record.iteration for record in solver.history.tests] == [0, 2]
    assert [one.iteration for one in solver.history.snapshots] == [4]
    solver.step(3)
    assert [r.loss for r in solver.history.train] == [
        r.loss for r in straight.history.train
    ]
    assert [(r.iteration, r.scalars()) for r in solver.history.tests] == [
        (r.iteration, r.scalars()) for r in straight.history.tests
    ]
