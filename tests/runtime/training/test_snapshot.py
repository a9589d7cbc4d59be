"""Snapshots: Caffe's files, bit-exact resume, and nothing lost on failure."""

import shutil
import sys

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError
from netspec.schema import NetParameter, SolverState
from runtime.data.convert import Images, write
from runtime.training import snapshot
from runtime.training.progress import Progress
from runtime.training.snapshot import read_state
from tests.reference import needs_reference, reference_dir
from tests.runtime.training.test_solver import assert_same, solver_text, values

# Few iterations, whose statistics are young.
pytestmark = pytest.mark.filterwarnings("ignore:.*this test uses means")

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


def make(backend, folder, rule="SGD", extra="", net=SHARED, seed=5):
    options = (
        f'type: "{rule}" {RULES[rule]} base_lr: 0.02 lr_policy: "multistep" '
        "gamma: 0.5 stepvalue: 2 stepvalue: 3 stepvalue: 6 iter_size: 2 "
        f'test_iter: 2 test_interval: 2 snapshot_prefix: "{folder}/n" {extra}'
    )
    text = solver_text(net, options)
    return runtime.get_solver(text, backend=backend.name, seed=seed)


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
    assert read_state(solver.snapshot().state).progress.steps == 2


def test_large_sizes_are_encoded_as_protobuf_does():
    shape = (3, 1000, 70)
    values = np.arange(210_000, dtype=np.float32).reshape(shape)
    saved = snapshot.SavedState(7, "a.caffemodel", (values,), Progress(4))
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
        message.iter, message.learned_net, history, Progress(message.current_step)
    )
    again = SolverState.FromString(b"".join(snapshot._to_binary(saved)))
    for field in ("iter", "learned_net", "current_step"):
        assert getattr(again, field) == getattr(message, field)
    assert list(again.history) == list(message.history)


# ---------------------------------------------------------------- state and model


@pytest.mark.parametrize("extra", ["", "snapshot_format: HDF5"])
def test_a_state_refuses_the_model_of_another_run(backend, tmp_path, extra):
    if extra:
        pytest.importorskip("h5py")
    solver = make(backend, tmp_path, extra=extra)
    solver.step(2)
    written = solver.snapshot()
    whole = written.model.read_bytes()
    make(backend, tmp_path, extra=extra).restore(written.state)
    other = make(backend, tmp_path / "other", extra=extra, seed=6)
    other.step(2)
    shutil.copy(other.snapshot().model, written.model)
    resumed = make(backend, tmp_path, extra=extra)
    before = values(resumed)
    with pytest.raises(
        FileError,
        match=r"n_iter_2.solverstate\S*: \S*n_iter_2.caffemodel\S* is not the model "
        r"that was written with it; .*Take another snapshot",
    ):
        resumed.restore(written.state)
    assert_same(before, values(resumed))
    written.model.write_bytes(whole)
    resumed.restore(written.state)


def test_of_two_models_a_state_takes_its_own(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = make(backend, ".")
    solver.step(2)
    solver.snapshot()
    (tmp_path / "kept").mkdir()
    for path in tmp_path.glob("n_iter_2.*"):
        path.rename(tmp_path / "kept" / path.name)
    other = make(backend, ".", seed=6)
    other.step(2)
    other.snapshot()  # under the name that the kept state has of its model
    resumed = make(backend, ".")
    resumed.restore("kept/n_iter_2.solverstate")
    assert_same(values(solver), values(resumed))


def test_states_without_a_mark_take_any_model(backend, tmp_path):
    solver = make(backend, tmp_path)
    solver.step(2)
    written = solver.snapshot()
    state = SolverState.FromString(written.state.read_bytes())
    state.ClearField("learned_net_hash")  # as Caffe writes it
    written.state.write_bytes(state.SerializeToString())
    assert read_state(written.state).learned_net_hash == ""
    changed = make(backend, tmp_path, seed=6)
    changed.net.save(written.model)
    resumed = make(backend, tmp_path)
    resumed.restore(written.state)
    assert_same(values(changed), values(resumed))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("extra", ["", "snapshot_format: HDF5"])
def test_weights_and_states_that_are_mixed_up(backend, tmp_path, extra):
    if extra:
        pytest.importorskip("h5py")
    solver = make(backend, tmp_path, extra=extra)
    solver.step(1)
    written = solver.snapshot()
    with pytest.raises(
        FileError,
        match=r"caffemodel\S*: holds weights, not the state of a solver; .*"
        r".solverstate.*--weights",
    ):
        solver.restore(written.model)
    with pytest.raises(
        FileError,
        match=r"solverstate\S*: is the state of a solver and holds no weights; "
        r"give the .caffemodel.*--snapshot",
    ):
        solver.copy_from(written.state)


@pytest.mark.parametrize("hdf5", [False, True])
def test_a_model_name_that_is_not_utf8_is_an_error(backend, tmp_path, hdf5):
    path = tmp_path / ("n.solverstate.h5" if hdf5 else "n.solverstate")
    if hdf5:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["iter"], file["current_step"] = 3, 0
            file["learned_net"] = np.bytes_(b"n\xff.caffemodel")
            file.create_group("history")
    else:
        path.write_bytes(SolverState(iter=3).SerializeToString() + b"\x12\x03n\xff.")
    with pytest.raises(FileError, match=r"n.solverstate\S*: .*learned_net.*not UTF-8"):
        make(backend, tmp_path).restore(path)


def test_names_that_no_file_can_have_are_errors(backend, tmp_path):
    long = "x" * 300
    solver = make(backend, tmp_path)
    with pytest.raises(FileError, match=r"x: cannot be read: File name too long"):
        solver.restore(long)
    with pytest.raises(FileError, match=r"x: cannot be read: File name too long"):
        solver.copy_from(long)
    with pytest.raises(FileError, match=r"x: the solver's net is not in"):
        runtime.get_solver(f'net: "{long}" base_lr: 1 lr_policy: "fixed"')
    path = tmp_path / "n.solverstate"
    path.write_bytes(SolverState(iter=3, learned_net=long).SerializeToString())
    sgd = make(backend, tmp_path)
    sgd.update.history = ()
    sgd.update.moments = 0
    with pytest.raises(FileError, match=r"its model file 'x+' is neither there nor in"):
        sgd.restore(path)
    wide = make(backend, long, extra="max_iter: 1")
    with pytest.raises(FileError, match="File name too long; change snapshot_prefix"):
        wide.solve()


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
