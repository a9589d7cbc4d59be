"""Arguments of nets and solvers that cannot be are told in our words, or taken."""

import copy
import pickle

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import NetspecError, ShapeError, SpecError, UnsupportedError
from runtime.training.history import History
from runtime.training.logs import Log
from runtime.training.plots import draw_history

WAY = dict(backend="portable")


def classifier():
    n = NetSpec("classifier")
    n.data, n.label = L.Input(shape=[4, 3]), L.Input(shape=[4])
    n.fc = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    return n


@pytest.fixture
def net():
    return runtime.Net(classifier(), **WAY)


@pytest.fixture
def deployed():
    n = NetSpec("deployed")
    n.data = L.Input(shape=[4, 3])
    n.fc = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
    return runtime.Net(n, **WAY)


@pytest.fixture
def solver():
    return runtime.Solver(classifier(), base_lr=0.1, **WAY)


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_a_net_of_one_input_takes_an_array(deployed):
    expected = deployed.forward(data=X)["fc"].copy()
    assert np.abs(expected).max() > 0
    for call in (deployed.forward, deployed):
        deployed.blobs["data"].data = 0
        np.testing.assert_array_equal(call(X)["fc"], expected)
        deployed.blobs["data"].data = np.zeros((4, 3))
        np.testing.assert_array_equal(call(X.tolist())["fc"], expected)


def test_a_net_is_called_with_its_inputs_in_order(net):
    labels = np.array([0, 1, 1, 0])
    expected = float(net.forward(data=X, label=labels)["loss"])
    net.blobs["label"].data = np.zeros(4)
    assert float(net(X, labels)["loss"]) == expected
    assert float(net(X, label=labels)["loss"]) == expected
    assert float(net.forward(dict(data=X, label=labels))["loss"]) == expected
    with pytest.raises(SpecError, match="takes 2 arrays, for its inputs data, label"):
        net(X, labels, X)
    with pytest.raises(SpecError, match="'data' is given twice"):
        net(X, data=X)


def test_names_of_blobs_stay_what_they_are(net):
    assert set(net.forward("fc", data=X)) == {"loss", "fc"}
    assert set(net.forward(["fc", "data"])) == {"loss", "fc", "data"}
    assert set(net.forward(np.array(["fc"]))) == {"loss", "fc"}


def test_values_of_blobs_can_be_set(net):
    blob = net.blobs["data"]
    before = blob.data
    blob.data = X
    assert blob.data is before or np.shares_memory(blob.data, before)
    np.testing.assert_array_equal(np.asarray(blob), X)
    assert np.asarray(blob, np.float64).dtype == np.float64
    assert np.mean(blob) == X.mean()
    weights = np.array([[1, 2, 3], [4, 5, 6]])
    net.params["fc"][0].data = weights
    net.forward()
    np.testing.assert_array_equal(net.blobs["fc"].data, X @ weights.T)
    copied = np.array(blob)
    copied[...] = 9
    assert blob.data[0, 0] == 0
    assert float(net.blobs["loss"]) == net.loss()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda n: n.forward(X),
            r"an array of shape \(4, 3\); .*data=..., label=...\)",
        ),
        (lambda n: n.forward(3), "the first argument is 3; it is for the names"),
        (lambda n: n.forward(X, np.zeros(4)), r"forward: the first argument|start is"),
        (lambda n: n.forward(start=["fc"]), r"start is \['fc'\]; expected the name of"),
        (lambda n: n.forward(end="fcc"), "no layer 'fcc'; did you mean 'fc'"),
        (lambda n: n.backward(X), "diffs is an array of shape .*; expected names"),
        (lambda n: n.blobs["dta"], "no blob 'dta' in this net; did you mean 'data'"),
        (lambda n: n.params["fcc"], "did you mean 'fc'"),
        (
            lambda n: n.layer_dict["fcc"],
            "no layer 'fcc' in this net; did you mean 'fc'",
        ),
        (lambda n: n.top_names["fcc"], "did you mean 'fc'"),
        (lambda n: n.bottom_names["fcc"], "did you mean 'fc'"),
        (lambda n: n.params["fc"][2], r"no parameter 2: 2 of shape \(2, 3\), \(2,\)"),
        (lambda n: n.params["fc"]["w"], "no parameter 'w': 2 of shape"),
        (lambda n: n.params["fc"].data, r"a list of the parameters .* \[0\].data is"),
        (lambda n: n.blobs["data"][0], r"its values are blob.data\[0\]"),
        (lambda n: float(n.blobs["data"]), r"shape \(4, 3\) is not one number"),
        (lambda n: n.blobs["data"].reshape("a"), "the shape is 'a'; give sizes"),
        (lambda n: n.blobs["data"].reshape(1.5, 2), "a size is 1.5; expected a whole"),
        (lambda n: n.copy_from(3), "weights is 3; expected the path of a file"),
        (lambda n: n.copy_from(n), "weights is <Net 'classifier'.*expected the path"),
        (lambda n: n.save(3), "path is 3; expected the path of a file"),
        (lambda n: n.save_hdf5(None), "path is None; expected the path"),
    ],
)
def test_what_a_net_cannot_do_is_told(net, call, match):
    with pytest.raises(SpecError, match=match):
        call(net)


def set_to(owner, name, value):
    setattr(owner, name, value)


def put(owner, key, value):
    owner[key] = value


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (
            lambda n: set_to(n.blobs["data"], "data", np.ones((9, 9))),
            ShapeError,
            "9, 9",
        ),
        (
            lambda n: set_to(n.params["fc"][0], "data", [1]),
            ShapeError,
            r"has shape \(2",
        ),
        (
            lambda n: set_to(n.blobs["data"], "diff", X),
            SpecError,
            "no gradient of it is",
        ),
        (
            lambda n: set_to(n.blobs["label"], "data", list("abcd")),
            SpecError,
            "numbers",
        ),
        (lambda n: set_to(n.blobs["label"], "data", [[1], 2]), SpecError, "rows of"),
        (lambda n: put(n.blobs, "data", X), SpecError, r"net.blobs\['data'\].data ="),
        (
            lambda n: put(n.blobs["data"], ..., X),
            SpecError,
            r"blob.data\[...\] = values",
        ),
        (lambda n: put(n.params["fc"], 0, X), SpecError, r"\[0\].data = values"),
        (lambda n: put(n.params, "fc", [X]), SpecError, r"params\['fc'\]\[0\].data ="),
    ],
)
def test_what_cannot_be_assigned_is_told_and_changes_nothing(net, call, kind, match):
    before = net.params["fc"][0].data.copy()
    with pytest.raises(kind, match=match):
        call(net)
    np.testing.assert_array_equal(net.params["fc"][0].data, before)
    net.forward(data=X)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(phase="tset"), "phase is 'tset'; expected 'TRAIN' or 'TEST'"),
        (dict(weights=3), "weights is 3; expected the path"),
        (dict(weights=dict(fc=1)), "weights is {'fc': 1}; expected the path"),
        (dict(level="a"), "level is 'a'; expected a whole number"),
        (dict(stages=3), "stages is 3; expected names"),
        (dict(backend=None), "backend is None; expected one of numpy"),
        (dict(backend="gpu"), "unknown backend 'gpu'"),
        (dict(seed="a"), "seed is 'a'; expected a whole number"),
        (dict(seed=1.0), "seed is 1.0; expected a whole number; write 1"),
        (dict(seed=None), "seed is None"),
        (dict(dtype="float16"), "dtype is 'float16'.*expected one of float32, float64"),
        (dict(dtype="flaot32"), "did you mean 'float32'"),
        (dict(dtype=None), "dtype is None"),
        (dict(keep=3), "keep is 3; expected names"),
        (dict(keep="fcc"), "keep names no blob of the net: .*did you mean 'fc'"),
        (dict(plans="a"), "plans is 'a'; expected a whole number"),
        (dict(share_with="x"), "share_with is 'x'; expected a Net"),
        (dict(state="TRAIN"), "state is 'TRAIN'; expected phase"),
        (dict(allow_python=3), "allow_python has 3; expected names"),
    ],
)
def test_options_that_cannot_be_are_told(options, match):
    with pytest.raises(NetspecError, match=match) as caught:
        runtime.Net(classifier(), **{**WAY, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 3, [], X, "", runtime])
def test_what_is_no_net_is_told_on_one_line(wrong):
    with pytest.raises(SpecError, match="expected a net: a path, prototxt") as caught:
        runtime.Net(wrong)
    assert "\n" not in str(caught.value)


def test_options_in_their_short_forms():
    net = runtime.Net(classifier(), "train", stages="deep", **WAY)
    assert (net.phase, net.state.stages) == (runtime.TRAIN, ("deep",))
    net = runtime.Net(classifier(), dtype=np.float64, keep="fc", **WAY)
    assert net.blobs["fc"].data.dtype == np.float64
    assert "portable" in repr(net.backend)
    assert "0x" not in repr(runtime.get_backend("numpy"))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.step("a"), "step: iterations is 'a'; expected a whole number"),
        (lambda s: s.step(1.5), "iterations is 1.5; expected a whole number$"),
        (lambda s: s.step(2.0), "iterations is 2.0; expected a whole number; write 2"),
        (lambda s: s.step(None), "iterations is None"),
        (lambda s: s.restore(3), "restore: path is 3; expected the path"),
        (lambda s: s.copy_from(None), "weights is None"),
        (lambda s: set_to(s, "lr", "a"), "lr is 'a'; expected a number"),
        (lambda s: set_to(s, "lr", None), "lr is None"),
        (lambda s: set_to(s, "base_lr", 1), "set solver.param.base_lr or solver.lr"),
        (
            lambda s: set_to(s, "momentum", 1),
            "momentum is a field; set solver.param.mo",
        ),
        (lambda s: set_to(s, "iter", 3), "iter counts the iterations that are done"),
    ],
)
def test_what_a_solver_cannot_do_is_told(solver, call, match):
    with pytest.raises(SpecError, match=match):
        call(solver)
    solver.step(np.int64(2))
    assert solver.iter == 2


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(seed="a"), "seed is 'a'; expected a whole number from 0"),
        (dict(folder=3), "folder is 3; expected the path"),
        (dict(keep=3), "keep is 3; expected names"),
        (dict(plans=None), "plans is None"),
        (dict(base_lr=float("nan")), "base_lr must be finite, got nan"),
        (dict(base_lr=np.ones((30, 30))), r"base_lr is an array of shape \(30, 30\)"),
    ],
)
def test_options_of_a_solver_that_cannot_be_are_told(options, match):
    with pytest.raises(SpecError, match=match):
        runtime.Solver(classifier(), **{"base_lr": 0.1, **WAY, **options})


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_nets_and_solvers_say_why_they_cannot_be_copied(net, solver, how):
    for one, match in (
        (net, "a Net cannot be copied or pickled.*net.save"),
        (solver, "a Solver cannot be copied .*restore"),
        (net.blobs["fc"], r"a Blob cannot .*blob.data.copy\(\)"),
    ):
        with pytest.raises(UnsupportedError, match=match):
            how(one)
    assert copy.deepcopy(solver.history).train == []


def test_histories_and_their_files(solver, tmp_path):
    pytest.importorskip("matplotlib")
    for empty in (History(), solver):
        draw_history(empty, tmp_path / "a.svg")
    for wrong in (None, 3):
        with pytest.raises(SpecError, match="expected a History or a Solver"):
            draw_history(wrong, tmp_path / "a.svg")
    for call in (solver.history.write, Log, lambda p: draw_history(solver.history, p)):
        with pytest.raises(SpecError, match="path is 3; expected the path of a file"):
            call(3)


def test_a_misspelt_name_of_the_package_is_told():
    with pytest.raises(AttributeError, match="'Slover'; did you mean 'Solver'"):
        _ = runtime.Slover
