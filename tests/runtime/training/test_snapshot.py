"""Snapshots: Caffe's files, bit-exact resume, and nothing lost on failure."""

import sys

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError
from netspec.files import replacing
from netspec.schema import NetParameter, SolverState
from runtime.data.convert import Images, write
from runtime.execution import weights
from runtime.training import snapshot
from runtime.training.snapshot import read_state
from tests.reference import needs_reference, reference_dir
from tests.runtime.training.test_solver import assert_same, solver_text, values

SHARED = """
name: "shared"
layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 5 dim: 7 } shape { dim: 5 dim: 2 }
                           data_filler { type: "gaussian" std: 1.5 } } }
layer { name: "first" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "tied" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 7 } }
layer { name: "bn" type: "BatchNorm" bottom: "b" top: "b" }
layer { name: "drop" type: "Dropout" bottom: "b" top: "b"
        dropout_param { dropout_ratio: 0.3 } }
layer { name: "out" type: "InnerProduct" bottom: "b" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""

RULES = {
    "SGD": "momentum: 0.8",
    "AdaDelta": "momentum: 0.8 delta: 0.001",
    "Adam": "momentum: 0.8 momentum2: 0.95 delta: 0.001",
}


def make(backend, folder, rule="SGD", extra="", net=SHARED):
    options = (
        f'type: "{rule}" {RULES[rule]} base_lr: 0.02 lr_policy: "multistep" '
        "gamma: 0.5 stepvalue: 2 stepvalue: 3 stepvalue: 6 iter_size: 2 "
        f'test_iter: 2 test_interval: 2 snapshot_prefix: "{folder}/n" {extra}'
    )
    return runtime.get_solver(solver_text(net, options), backend=backend.name, seed=5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("extra", ["", "snapshot_format: HDF5"], ids=["binary", "h5"])
def test_resumed_run_equals_one_that_never_stopped(backend, tmp_path, rule, extra):
    if "HDF5" in extra:
        pytest.importorskip("h5py")
    straight = make(backend, tmp_path, rule, extra)
    straight.step(5)
    state = straight.snapshot().state
    straight.step(4)
    resumed = make(backend, tmp_path, rule, extra)
    resumed.restore(state)
    assert resumed.iter == 5
    resumed.step(4)
    assert_same(values(straight), values(resumed))
    assert [r.loss for r in straight.history.train[5:]] == [
        r.loss for r in resumed.history.train
    ]
    assert [r.lr for r in straight.history.train[5:]] == [
        r.lr for r in resumed.history.train
    ]
    tests = [r.scalars() for r in straight.history.tests if r.iteration > 5]
    assert len(tests) == 2
    assert tests == [r.scalars() for r in resumed.history.tests]


def test_resumed_run_reads_the_same_batches(backend, tmp_path):
    pytest.importorskip("lmdb")
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (11, 2, 6, 7)).astype(np.uint8)
    source = write(Images(pixels, np.arange(11) % 3), tmp_path / "images", "lmdb")
    net = f"""
    layer {{ name: "data" type: "Data" top: "x" top: "t"
            transform_param {{ crop_size: 4 mirror: true scale: 0.01 }}
            data_param {{ source: "{source}" batch_size: 4 backend: LMDB }} }}
    layer {{ name: "out" type: "InnerProduct" bottom: "x" top: "y"
            inner_product_param {{ num_output: 3 }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }}
    """
    straight = make(backend, tmp_path, net=net)
    straight.step(5)
    state = straight.snapshot().state
    straight.step(4)
    resumed = make(backend, tmp_path, net=net)
    resumed.restore(state)
    resumed.step(4)
    assert_same(values(straight), values(resumed))
    tests = [r.scalars() for r in straight.history.tests if r.iteration > 5]
    assert tests == [r.scalars() for r in resumed.history.tests]
    losses = [record.loss for record in straight.history.train]
    assert losses[5:] == [record.loss for record in resumed.history.train]
    assert len(set(losses)) == 9
    for solver in (straight, resumed):
        solver.close()


def test_files_have_caffes_names_and_fields(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = make(backend, ".", "Adam")
    solver.step(3)
    written = solver.snapshot()
    assert [str(written.model), str(written.state)] == [
        "n_iter_3.caffemodel",
        "n_iter_3.solverstate",
    ]
    state = SolverState.FromString(written.state.read_bytes())
    assert (state.iter, state.learned_net) == (3, "n_iter_3.caffemodel")
    assert state.current_step == 1  # taken at iteration 2
    # Each parameter once, the shared one at its owner, first moments before second.
    shapes = [tuple(blob.shape.dim) for blob in state.history]
    mine = [(7, 7), (7,), (7,), (7,), (7,), (1,), (2, 7), (2,)]
    assert shapes == mine + mine
    first = solver.net.flat.slices[0]
    for moment, blob in zip(solver.update.history, state.history[::8], strict=True):
        host = np.empty(49, np.float32)
        backend.download(moment[first], out=host)
        np.testing.assert_array_equal(np.array(blob.data, np.float32), host)
    model = NetParameter.FromString(written.model.read_bytes())
    assert [layer.name for layer in model.layer][:2] == ["data", "first"]


def test_multistep_counter_is_saved(backend, tmp_path):
    solver = make(backend, tmp_path)
    solver.step(4)
    assert read_state(solver.snapshot().state).current_step == 2


def test_large_sizes_are_encoded_as_protobuf_does():
    shape = (3, 1000, 70)
    saved = snapshot.SavedState(
        7, "a.caffemodel", (np.arange(210_000, dtype=np.float32).reshape(shape),), 4
    )
    message = SolverState.FromString(b"".join(snapshot._to_binary(saved)))
    assert tuple(message.history[0].shape.dim) == shape
    assert message.history[0].data[-1] == 209_999
    assert (message.iter, message.current_step) == (7, 4)


def test_model_is_found_beside_its_state(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snaps").mkdir()
    solver = make(backend, "snaps")
    solver.step(1)
    assert (
        read_state(solver.snapshot().state).learned_net == "snaps/n_iter_1.caffemodel"
    )
    (tmp_path / "snaps").rename(tmp_path / "moved")
    other = make(backend, ".")
    other.restore("moved/n_iter_1.solverstate")
    assert_same(values(solver), values(other))
    (tmp_path / "moved/n_iter_1.caffemodel").unlink()
    with pytest.raises(FileError, match="file 'snaps/n_iter_1.caffemodel' is neither"):
        other.restore("moved/n_iter_1.solverstate")


# ---------------------------------------------------------------- what Caffe wrote


@needs_reference
@pytest.mark.parametrize(
    "name", ["message_solverstate_sgd", "message_solverstate_adam"]
)
def test_state_that_caffe_wrote_is_written_again_byte_for_byte(name):
    path = reference_dir() / "conformance" / "cases" / "io" / f"{name}.npz"
    with np.load(path, allow_pickle=False) as case:
        data = case["bytes"].tobytes()
    message = SolverState.FromString(data)
    history = tuple(
        np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim))
        for blob in message.history
    )
    saved = snapshot.SavedState(
        message.iter, message.learned_net, history, message.current_step
    )
    again = SolverState.FromString(b"".join(snapshot._to_binary(saved)))
    for field in ("iter", "learned_net", "current_step"):
        assert getattr(again, field) == getattr(message, field)
    assert list(again.history) == list(message.history)


# ---------------------------------------------------------------- failure


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


# ---------------------------------------------------------------- refusals


def test_state_of_another_type_or_net_changes_nothing(backend, tmp_path):
    solver = make(backend, tmp_path, "SGD")
    solver.step(2)
    state = solver.snapshot().state
    other = make(backend, tmp_path, "Adam")
    before = values(other)
    with pytest.raises(
        SpecError, match="holds 8 history blobs, but solver type 'Adam' keeps 16"
    ):
        other.restore(state)
    wider = SHARED.replace("num_output: 2", "num_output: 3").replace(
        "dim: 5 dim: 2", "dim: 5 dim: 3"
    )
    wide = make(backend, tmp_path, net=wider)
    with pytest.raises(
        SpecError,
        match=r"blob 6 has shape \(2, 7\), but parameter 0 of layer 'out' has "
        r"shape \(3, 7\)",
    ):
        wide.restore(state)
    assert other.iter == wide.iter == 0
    assert_same(before, values(other))


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.solverstate",
            b"\xff\xff\xff",
            "a.solverstate: is not a binary SolverState",
        ),
        ("b.solverstate", b"", "b.solverstate: is not a solver state: it names no"),
        ("c.solverstate.h5", b"text", "c.solverstate.h5: cannot be read as HDF5"),
        ("d.solverstate", None, "d.solverstate: cannot be read: No such file"),
        ("e.solverstate.h5", None, "e.solverstate.h5: cannot be read as HDF5"),
    ],
)
def test_broken_state_files_are_named(backend, tmp_path, name, content, message):
    if name.endswith(".h5"):
        pytest.importorskip("h5py")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        make(backend, tmp_path).restore(path)


def test_hdf5_file_that_is_no_state_is_named(backend, tmp_path):
    h5py = pytest.importorskip("h5py")

    path = tmp_path / "f.solverstate.h5"
    with h5py.File(path, "w") as file:
        file["iter"] = 3
    with pytest.raises(FileError, match="is not a solver state: .*history"):
        make(backend, tmp_path).restore(path)


def test_hdf5_without_h5py_says_what_to_install(backend, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    solver = make(backend, tmp_path, extra="snapshot_format: HDF5")
    with pytest.raises(RuntimeError, match=r"install the extra netspec\[data\]"):
        solver.snapshot()
