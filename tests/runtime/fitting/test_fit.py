import inspect

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.schema import SolverParameter
from runtime.data.dataset import open_dataset
from tests.runtime.data.given.common import write_images
from tests.runtime.fitting.common import (
    COUNT,
    arrays,
    assert_same_run,
    losses,
    parameters,
    spec,
)

X, Y = arrays()
ADAM = {"type": "Adam", "base_lr": 0.01}


def fit(*args, **kwargs):
    return runtime.fit(*args, progress=False, **kwargs)


def test_a_net_learns_arrays_and_is_tested_after_each_epoch(backend):
    history = fit(
        spec(),
        (X, Y),
        epochs=4,
        validation=0.2,
        solver=ADAM,
        backend=backend.name,
    )
    assert history.solver.iter == len(history.train) == 4 * 5
    assert history.epoch_size == 5
    assert [test.iteration for test in history.tests] == [5, 10, 15, 20]
    assert history.tests[-1].scalars()["accuracy"] > 0.8
    assert history.net is history.solver.net
    assert history.net.blobs["data"].shape == (16, 1, 6, 6)


def test_every_iteration_trains_on_the_batch_of_its_number(backend):
    history = fit(
        spec(), (X, Y), epochs=2, shuffle=False, solver=ADAM, backend=backend.name
    )
    by_hand = runtime.Solver(spec(), **ADAM, max_iter=1, backend=backend.name)
    found = []
    for number in range(2 * 7):
        start = number % 7 * 16
        x, y = X[start : start + 16], Y[start : start + 16]
        by_hand.net.blobs["data"].reshape(*x.shape)
        by_hand.net.blobs["label"].reshape(*y.shape)
        by_hand.net.blobs["data"].data[...] = x
        by_hand.net.blobs["label"].data[...] = y
        by_hand.step(1)
        found.append(by_hand.history.train[-1].loss)
    assert losses(history) == found


def test_tests_are_means_over_items_of_all_the_validation_data(backend):
    history = fit(
        spec(extra_output=True),
        (X, Y),
        epochs=1,
        validation=(X[:37], Y[:37]),
        backend=backend.name,
    )
    (test,) = history.tests
    net = runtime.Net(spec(37, extra_output=True), backend=backend.name)
    for name, blobs in history.net.params.items():
        for mine, its in zip(net.params[name], blobs, strict=True):
            mine.data[...] = its.data
    out = net.forward(data=X[:37], label=Y[:37])
    assert test.scalars()["accuracy"] == pytest.approx(float(out["accuracy"]), 1e-5)
    assert test.scalars()["loss"] == pytest.approx(float(out["loss"]), 1e-5)
    np.testing.assert_allclose(test.outputs["prob"], out["prob"].mean(0), rtol=1e-5)


def test_a_fraction_keeps_the_last_items_for_tests():
    whole = fit(spec(), (X, Y), epochs=2, validation=0.25)
    parts = fit(spec(), (X[:75], Y[:75]), epochs=2, validation=(X[75:], Y[75:]))
    assert_same_run(whole, parts)


def test_arrays_items_and_batches_train_alike():
    def items():
        return zip(X, Y, strict=True)

    def batches():
        return ((X[i : i + 16], Y[i : i + 16]) for i in range(0, COUNT, 16))

    first = fit(spec(), (X, Y), epochs=3, shuffle=False, validation=(X, Y))
    for data in (items, batches, list(items()), {"label": Y, "data": X}):
        again = fit(spec(), data, epochs=3, shuffle=False, validation=(X, Y))
        assert_same_run(first, again)
        assert again.epoch_size == 7


@pytest.mark.parametrize("validation", [False, True])
def test_a_generator_trains_for_one_epoch_of_unknown_length(validation):
    more = {"validation": (X, Y)} if validation else {}
    history = fit(spec(), zip(X, Y, strict=True), **more)
    assert (history.solver.iter, history.epoch_size) == (7, 7)
    assert len(history.tests) == validation
    assert history.solver.param.max_iter == 7
    assert not history.solver.callbacks


def test_a_generator_that_ends_before_max_iter_is_told_of():
    with pytest.warns(UserWarning, match="ended after 7 iterations, before max_iter"):
        history = fit(spec(), zip(X, Y, strict=True), max_iter=50)
    assert history.solver.iter == 7
    endless = (pair for _ in iter(int, 1) for pair in zip(X, Y, strict=True))
    assert fit(spec(), endless, max_iter=9).solver.iter == 9


@pytest.mark.parametrize("again", [False, True])
def test_iterations_of_several_batches(again):
    data = (lambda: zip(X, Y, strict=True)) if again else (X, Y)
    solver = dict(base_lr=0.01, iter_size=2)
    history = fit(spec(), data, epochs=3, shuffle=False, solver=solver)
    assert (history.epoch_size, history.solver.iter) == (4, 12)


def test_batch_size_is_that_of_the_inputs_or_as_given():
    assert fit(spec(16), (X, Y)).epoch_size == 7
    history = fit(spec(16), (X, Y), batch_size=50, validation=0.1)
    assert history.epoch_size == 2
    assert history.net.blobs["data"].shape == (50, 1, 6, 6)
    deploy = spec(1)
    assert fit(deploy, (X, Y), batch_size=25).epoch_size == 4


def test_max_iter_ends_amid_an_epoch_with_a_test():
    history = fit(spec(), (X, Y), max_iter=10, validation=(X, Y))
    assert [test.iteration for test in history.tests] == [7, 10]
    own = fit(spec(), (X, Y), solver={**ADAM, "max_iter": 3})
    assert own.solver.iter == 3
    assert fit(spec(), (X, Y)).solver.iter == 7  # one epoch


def test_what_is_said_of_the_solver():
    usual = fit(spec(), (X, Y), max_iter=1).solver.param
    assert (usual.type, usual.lr_policy) == ("SGD", "fixed")
    assert (usual.base_lr, usual.momentum) == pytest.approx((0.01, 0.9))
    for fields, rates in (
        ({"base_lr": 0.1}, (0.1, 0.9)),
        ({"momentum": 0}, (0.01, 0)),
        ({"type": "AdaGrad", "base_lr": 0.1}, (0.1, 0)),
    ):
        said = fit(spec(), (X, Y), max_iter=1, solver=fields).solver.param
        assert (said.base_lr, said.momentum) == pytest.approx(rates)
    text = 'base_lr: 0.5 lr_policy: "step" gamma: 0.1 stepsize: 2'
    for solver in (text, SolverParameter(base_lr=0.5, lr_policy="fixed")):
        assert fit(spec(), (X, Y), max_iter=1, solver=solver).train[0].lr == 0.5
    whole = SolverParameter(
        net_param=spec().to_proto(), base_lr=0.25, lr_policy="fixed"
    )
    assert fit(whole, (X, Y), max_iter=1).train[0].lr == 0.25
    with pytest.raises(SpecError, match="a solver is given twice"):
        fit(whole, (X, Y), solver=ADAM and text)


def test_poly_knows_how_long_training_is():
    solver = dict(base_lr=1.0, lr_policy="poly", power=1)
    history = fit(spec(), (X * 1e-3, Y), epochs=2, solver=solver)
    assert [round(r.lr * 14) for r in history.train] == list(range(14, 0, -1))
    with pytest.raises(SpecError, match="not known before these data"):
        fit(spec(), lambda: zip(X, Y, strict=True), epochs=2, solver=solver)


def test_nets_in_files_and_models_in_python(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(str(spec().to_proto()))
    first = fit(path, (X, Y))
    assert_same_run(first, fit(str(path), (X, Y)))
    assert_same_run(first, fit(spec(), (X, Y)))


def test_a_net_without_labels_and_one_of_several_inputs():
    n = NetSpec("auto")
    n.data = L.Input(shape=[10, 36])
    n.code = L.InnerProduct(n.data, num_output=5, weight_filler="xavier")
    n.back = L.InnerProduct(n.code, num_output=36, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.back, n.data)
    history = fit(n, X.reshape(-1, 36), epochs=5, validation=0.2, solver=ADAM)
    assert losses(history)[-1] < losses(history)[0]
    n = NetSpec("pair")
    n.left = L.Input(shape=[10, 36])
    n.right = L.Input(shape=[10, 36])
    n.a = L.InnerProduct(n.left, num_output=3, weight_filler="xavier")
    n.b = L.InnerProduct(n.right, num_output=3, weight_filler="xavier")
    n.sim = L.Input(shape=[10])
    n.loss = L.ContrastiveLoss(n.a, n.b, n.sim)
    flat = X.reshape(-1, 36)
    fit(n, {"sim": Y, "right": flat[::-1], "left": flat}, epochs=1)


def test_nets_with_data_layers_train_on_these():
    n = NetSpec("own")
    n.data, n.label = L.MemoryData(batch_size=10, channels=1, height=6, width=6, ntop=2)
    n.score = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    with pytest.raises(SpecError, match=r"layer 'data' \(MemoryData\).*leave data out"):
        fit(n, (X, Y))
    with pytest.raises(SpecError, match="of which nobody counts the epochs"):
        fit(n, epochs=2)
    solver = runtime.Solver(n, **ADAM, max_iter=2)
    solver.net.set_input_arrays(X, Y)
    assert fit(solver, max_iter=4).solver.iter == 4


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"data": None}, SpecError, "no data are given, and the net has the inputs"),
        ({"epochs": 0}, SpecError, "epochs is 0; expected at least 1"),
        ({"epochs": 1.5}, SpecError, "epochs is 1.5; expected a whole number"),
        ({"epochs": 1, "max_iter": 5}, SpecError, "epochs and max_iter are both"),
        ({"validation": 1.5}, SpecError, "validation is 1.5; as a number"),
        ({"validation": (X, Y + 2)}, SpecError, "label 3 in item"),
        ({"validation": (X[:, :, :5], Y)}, ShapeError, "validation: data for 'data'"),
        ({"data": (X, Y + 1)}, SpecError, r"'loss' .* 2 classes .* give y - 1"),
        ({"data": (X, Y * 0.5)}, SpecError, "label 0.5 in item"),
        ({"snapshot": 1}, SpecError, "snapshot is given, but no folder"),
        ({"resume": "last"}, SpecError, "resume is 'last', but there is no folder"),
        ({"weights": "a", "resume": "b"}, SpecError, "weights and resume are both"),
        ({"seed": -1}, SpecError, "seed is -1"),
        ({"shuffle": 3}, SpecError, "shuffle is 3"),
        ({"solver": {"base_rl": 1}}, SpecError, "did you mean 'base_lr'"),
        ({"solver": 5}, SpecError, "solver|expected"),
        ({"callbacks": [5]}, SpecError, "is no callback"),
        (
            {"data": zip(X, Y, strict=True), "epochs": 2},
            SpecError,
            "a generator can be read once only",
        ),
        (
            {"data": zip(X, Y, strict=True), "validation": 0.2},
            SpecError,
            "come in their own order",
        ),
        (
            {"validation": zip(X, Y, strict=True)},
            SpecError,
            "validation is a generator",
        ),
        (
            {"solver": {**ADAM, "test_iter": 1, "test_interval": 1}},
            SpecError,
            "nothing fills the inputs of the net that tests, data, label",
        ),
    ],
)
def test_arguments_that_cannot_be(more, error, said):
    with pytest.raises(error, match=said):
        fit(spec(), **({"data": (X, Y)} | more))


@pytest.mark.parametrize("net", [None, NetSpec])
def test_what_is_no_net(net):
    with pytest.raises(SpecError, match="the net is .*; expected a NetSpec"):
        fit(net, (X, Y))


def test_a_net_without_a_loss_is_refused():
    n = NetSpec("no_loss")
    n.data = L.Input(shape=[10, 36])
    n.y = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
    with pytest.raises(SpecError, match="loss"):
        fit(n, X.reshape(-1, 36))


def test_errors_of_the_data_leave_what_is_trained():
    good = [(X[:16], Y[:16]), (X[16:32], Y[16:32])]
    solver = runtime.Solver(spec(), **ADAM, max_iter=1)
    with pytest.raises(SpecError, match="'data' has NaN"):
        fit(solver, [*good, (X[:16] * np.nan, Y[:16])], shuffle=False)
    assert solver.iter == 2
    before = parameters(solver.net)
    assert all(np.isfinite(one).all() for one in before)
    fit(solver, (X, Y), epochs=1)
    assert solver.iter == 9


def test_folders_must_have_the_same_classes(tmp_path):
    pytest.importorskip("PIL")
    write_images(tmp_path / "train")
    write_images(tmp_path / "test")
    (tmp_path / "test" / "bee").rename(tmp_path / "test" / "wasp")
    n = NetSpec("colours")
    n.data = L.Input(shape=[4, 3, 6, 5])
    n.label = L.Input(shape=[4])
    n.score = L.InnerProduct(n.data, num_output=3, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    scale = {"scale": 1 / 256}
    with pytest.raises(SpecError, match="classes ant, cat, wasp, the data ant, bee"):
        fit(n, tmp_path / "train", validation=tmp_path / "test", transform=scale)
    history = fit(
        n, tmp_path / "train", validation=tmp_path / "train", transform=scale, epochs=9
    )
    assert losses(history)[-1] < losses(history)[0]
    assert len(history.tests) == 9


def test_nets_that_train_on_inputs_and_test_on_data_layers():
    n = NetSpec("both")
    n.data, n.label = L.Input(ntop=2, shape=[[16, 36], [16]], include="TRAIN")
    n.data, n.label = L.DummyData(
        ntop=2, shape=[dict(dim=[5, 36]), dict(dim=[5])], include="TEST"
    )
    n.score = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    solver = {**ADAM, "test_iter": 2, "test_interval": 3}
    history = fit(n, (X.reshape(-1, 36), Y), epochs=1, solver=solver)
    assert [test.iteration for test in history.tests] == [0, 3, 6]
    with pytest.raises(SpecError, match="no inputs to fill"):
        fit(n, (X.reshape(-1, 36), Y), validation=(X.reshape(-1, 36), Y))


@pytest.mark.parametrize(
    ("others", "more", "said"),
    [
        ((Y,), {}, r"as one argument: write fit\(net, \(x, y\)"),
        ((), {"validation_data": (X, Y)}, r"here it is validation=\(x, y\)"),
        ((), {"optimizer": "adam"}, "here it is solver=dict"),
        ((), {"base_lr": 0.1}, r"a field of the solver: write solver=dict\(base_lr"),
        ((), {"batchsize": 4}, "no argument 'batchsize'; did you mean 'batch_size'"),
    ],
)
def test_arguments_of_other_libraries_are_translated(others, more, said):
    with pytest.raises(SpecError, match=said):
        fit(spec(), X, *others, **more)
    assert "unknown" not in inspect.signature(runtime.fit).parameters


def test_a_data_set_cannot_be_read_at_two_places():
    inputs = {"data": (16, 1, 6, 6), "label": (16,)}
    dataset, other = (open_dataset((X, Y), inputs) for _ in range(2))
    with pytest.raises(SpecError, match="open it a second time"):
        fit(spec(), dataset, validation=dataset)
    assert len(fit(spec(), dataset, validation=other).tests) == 1


def test_a_warning_about_the_data_names_the_line_of_the_caller():
    more = {"data": X, "label": Y, "age": Y}
    with pytest.warns(SpecWarning, match="have 'age', which no input") as caught:
        fit(spec(), more, max_iter=1)
    assert {one.filename for one in caught} == {__file__}
