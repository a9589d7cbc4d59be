"""Predictions of all items, whatever the model and the data are given as."""

import gc
import signal
import warnings
import weakref

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.schema import TRAIN
from netspec.weights import Model, as_model
from runtime.evaluation.subject import _DERIVED, subject_of
from tests.runtime.evaluation.nets import FILLED, classifier, images


def trained(n=None, steps=4):
    n = n or classifier()
    solver = runtime.Solver(n, base_lr=0.05, momentum=0.5)
    solver.net.feed(images(seed=9), batch_size=6)
    solver.step(steps)
    return solver


def by_hand(net, x):
    """What the net for use makes of each item by itself."""
    message = netspec.deploy(net.definition, batch_size=1)
    one = runtime.Net(message, share_with=net)
    return np.concatenate([one.forward(data=item[None])["prob"].copy() for item in x])


@pytest.fixture(scope="module")
def solver():
    return trained()


def test_all_items_in_order_whatever_the_batches(solver):
    x, _ = images()
    wanted = by_hand(solver.net, x)
    for size in (None, 1, 5, 8, 23, 100):
        found = runtime.predict(solver, x, batch_size=size)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_the_model_is_not_changed(solver):
    x, _ = images()
    before = {k: [b.data.copy() for b in v] for k, v in solver.net.params.items()}
    shapes = {name: blob.shape for name, blob in solver.net.blobs.items()}
    runtime.predict(solver, x, batch_size=3)
    for name, held in before.items():
        for old, new in zip(held, solver.net.params[name], strict=True):
            np.testing.assert_array_equal(old, new.data)
    assert {name: blob.shape for name, blob in solver.net.blobs.items()} == shapes


def test_it_follows_training():
    solver, (x, _) = trained(), images()
    first = runtime.predict(solver, x)
    solver.step(3)
    second = runtime.predict(solver, x)
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_allclose(second, by_hand(solver.net, x), rtol=1e-5, atol=1e-7)


class OfASolver:
    def __init__(self, solver):
        self.solver = solver


@pytest.mark.parametrize(
    "kind", ["net", "history", "spec", "text", "path", "py", "model"]
)
def test_models_of_every_kind_say_the_same(solver, kind, tmp_path):
    x, _ = images()
    n = classifier()
    path, weights = tmp_path / "net.prototxt", tmp_path / "w.caffemodel"
    path.write_text(str(n.to_proto()))
    (tmp_path / "net.py").write_text(
        f"import netspec\ndef net():\n    return netspec.load({str(path)!r})\n"
    )
    solver.net.save(weights)
    model = {
        "net": solver.net,
        "history": OfASolver(solver),
        "spec": n,
        "text": str(n.to_proto()),
        "path": path,
        "py": str(tmp_path / "net.py"),
        "model": as_model(n, weights),
    }[kind]
    files = {} if kind in ("net", "history", "model") else {"weights": weights}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = runtime.predict(model, x, **files)
    np.testing.assert_array_equal(found, runtime.predict(solver, x))


def test_a_net_without_weights_says_that_it_is_not_trained():
    with pytest.warns(SpecWarning, match="'small' is not trained.*give weights="):
        runtime.predict(classifier(), images()[0])


def test_weights_under_other_names_and_in_several_files(solver, tmp_path):
    x, _ = images()
    solver.net.save(tmp_path / "all.npz")
    whole = as_model(classifier(), tmp_path / "all.npz")
    old = {"stem" if k == "conv" else k: v for k, v in whole.weights.items()}
    n = classifier()
    for name, keys in {"a": ("stem", "bn"), "b": ("fc",)}.items():
        held = {key: old[key] for key in keys}
        netspec.weights.save_weights(tmp_path / f"{name}.npz", held)
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    wanted = runtime.predict(solver, x)
    for given in (files, f"{files[0]},{files[1]}"):
        found = runtime.predict(n, x, weights=given, rename={"stem": "conv"})
        np.testing.assert_array_equal(found, wanted)


def test_blobs_amid_the_net(solver):
    x, _ = images()
    features = runtime.predict(solver, x, blobs="conv", batch_size=5)
    assert features.shape == (23, 4, 3, 2)
    np.testing.assert_array_equal(features, runtime.predict(solver, x, blobs="drop"))
    both = runtime.predict(solver, x, blobs=["fc", "conv", "data"])
    assert list(both) == ["fc", "conv", "data"]
    assert both["fc"].shape == (23, 5)
    np.testing.assert_array_equal(both["data"], x)
    np.testing.assert_array_equal(both["conv"], features)


def test_a_layer_in_place_can_be_asked_for_alone():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.fc = L.InnerProduct(n.data, num_output=4, **FILLED)
    n.half = L.Power(n.fc, scale=0.5, in_place=True)
    n.relu = L.ReLU(n.half, in_place=True)
    n.out = L.InnerProduct(n.relu, num_output=2, **FILLED)
    net, x = runtime.Net(n), np.random.default_rng(1).normal(size=(7, 3))
    half = runtime.predict(net, x, blobs="half")
    assert half.min() < 0
    np.testing.assert_array_equal(
        runtime.predict(net, x, blobs="fc"), np.maximum(half, 0)
    )
    with pytest.raises(SpecError, match="'half' is changed in place by layer 'relu'"):
        runtime.predict(net, x, blobs=["half", "out"])


def test_several_outputs_are_a_dict_and_several_inputs_go_by_name():
    n = NetSpec()
    n.left, n.right = L.Input(shape=[4, 3]), L.Input(shape=[4, 2])
    n.sum = L.InnerProduct(n.left, num_output=2, **FILLED)
    n.both = L.Eltwise(n.sum, n.right)
    n.other = L.TanH(n.right)
    net, rng = runtime.Net(n), np.random.default_rng(2)
    left, right = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    found = runtime.predict(net, (left, right))
    assert set(found) == {"both", "other"}
    np.testing.assert_allclose(found["other"], np.tanh(right), rtol=1e-5)
    again = runtime.predict(net, {"right": right, "left": left}, batch_size=2)
    for name, values in found.items():
        np.testing.assert_array_equal(again[name], values)


def test_several_rows_of_an_item_stay_in_order():
    n = NetSpec()
    n.data = L.Input(shape=[4, 6, 1, 1])
    n.rows = L.Reshape(n.data, shape=dict(dim=[-1, 2]))
    x = np.arange(42, dtype=np.float32).reshape(7, 6, 1, 1)
    found = runtime.predict(runtime.Net(n), x, batch_size=2)
    np.testing.assert_array_equal(found, x.reshape(21, 2))


def test_what_has_no_rows_of_items_is_refused_amid_batches():
    n = NetSpec()
    n.data = L.Input(shape=[4, 3])
    n.total = L.Reduction(n.data, operation="SUM")
    x, net = np.ones((9, 3)), runtime.Net(n)
    with pytest.raises(SpecError, match="'total' has shape .* no rows of items"):
        runtime.predict(net, x)
    assert runtime.predict(net, x, batch_size=9) == 27


def test_iterables_and_functions(solver):
    x, _ = images()
    wanted = runtime.predict(solver, x)
    for data in (
        iter(x),
        (item for item in x),
        lambda: (item for item in x),
        list(x),
        lambda: iter([x[:10], x[10:]]),
        {"data": x},
    ):
        np.testing.assert_array_equal(runtime.predict(solver, data), wanted)


def test_transforms_are_those_of_tests(solver):
    x, _ = images()
    found = runtime.predict(
        solver, x + 2, transform={"mean_value": [2.0], "mirror": True}
    )
    np.testing.assert_allclose(found, runtime.predict(solver, x), rtol=1e-4, atol=1e-5)


def test_data_layers_become_inputs():
    n = NetSpec("memory")
    n.data, n.label = L.MemoryData(
        batch_size=4, channels=3, height=5, width=4, ntop=2, include="TRAIN"
    )
    n.fc = L.InnerProduct(n.data, num_output=5, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    net = runtime.Net(n, TRAIN)
    x, _ = images()
    found = runtime.predict(net, x)
    assert found.shape == (23, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_arrays_tell_shapes_that_only_files_would():
    n = NetSpec("from a database")
    n.data, n.label = L.Data(source="not_here", batch_size=4, backend="LMDB", ntop=2)
    n.fc = L.InnerProduct(n.data, num_output=5, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    x, y = images()
    with pytest.warns(SpecWarning, match="is not trained"):
        found = runtime.predict(n, x)
    with pytest.warns(SpecWarning, match="is not trained"):
        again = runtime.predict(n, {"data": x})
    np.testing.assert_array_equal(found, again)
    with pytest.warns(SpecWarning, match="is not trained"):
        result = runtime.evaluate(n, (x, y))
    assert result.accuracy == (found.argmax(axis=1) == y).mean()
    with pytest.raises(ShapeError, match="the shape of 'data' is not known"):
        runtime.predict(n, iter(x))
    with pytest.warns(SpecWarning, match="is not trained"):
        given = runtime.predict(n, iter(x), shapes={"data": (6, 3, 5, 4)})
    np.testing.assert_allclose(given, found, rtol=1e-6)
    with pytest.raises(SpecError, match="'dta', which is no blob.*mean 'data'"):
        runtime.predict(n, x, shapes={"dta": (6, 3, 5, 4)})
    with pytest.raises(SpecError, match="shapes are given with a Net"):
        runtime.predict(runtime.Net(classifier()), x, shapes={"data": (6, 3, 5, 4)})


def test_the_size_of_batches_is_that_of_the_net_and_not_of_the_last_batch():
    solver = trained(steps=4)  # the last batch of 23 items by 6 has 5
    assert solver.net.blobs["data"].shape[0] == 5
    for message in (
        subject_of(solver).for_use(None),
        subject_of(solver).for_test(None),
    ):
        assert message.layer[0].input_param.shape[0].dim[0] == 8


def test_stages_of_the_model_hold():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.fc = L.InnerProduct(n.data, num_output=2, include=dict(stage="a"), **FILLED)
    n.other = L.InnerProduct(n.data, num_output=4, exclude=dict(stage="a"), **FILLED)
    x = np.ones((3, 3))
    assert runtime.predict(runtime.Net(n, stages=["a"]), x).shape == (3, 2)
    assert runtime.predict(runtime.Net(n), x).shape == (3, 4)


def test_derived_nets_are_kept_and_go_with_their_net():
    net = runtime.Net(classifier())
    x, _ = images()
    runtime.predict(net, x)
    runtime.predict(net, x, batch_size=3)
    assert len(_DERIVED[net]) == 1
    (derived,) = _DERIVED[net].values()
    assert derived.parameters.arrays[0].data is net.parameters.arrays[0].data
    lives = weakref.ref(net), weakref.ref(derived)
    del net, derived
    gc.collect()
    gc.collect()  # what only the first one held
    assert [each() for each in lives] == [None, None]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"blobs": "fcc"}, "no blob 'fcc' is in the net for use; did you mean 'fc'"),
        ({"blobs": "loss"}, "no blob 'loss' is in the net for use"),
        ({"blobs": []}, "blobs is an empty list"),
        ({"weights": "x"}, "weights are given with a solver, which has its own"),
        ({"backend": "portable"}, "backend is 'portable', but the net was made with"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_is_refused(solver, options, text):
    with pytest.raises(SpecError, match=text):
        runtime.predict(solver, images()[0], **options)


def test_data_that_do_not_suit_are_refused(solver):
    x, y = images()
    with pytest.raises(ShapeError, match=r"input 'data' takes \(3, 5, 4\)"):
        runtime.predict(solver, x[:, :2])
    with pytest.raises(SpecError, match="has 1 input: data"):
        runtime.predict(solver, (x, y))
    with pytest.raises(SpecError, match="no items"):
        runtime.predict(solver, x[:0])
    with pytest.raises(SpecError, match="the model is 3; expected a History"):
        runtime.predict(3, x)


def test_a_backend_can_be_chosen_for_a_file(solver):
    x, _ = images()
    model = Model(solver.net.definition, as_model(solver.net.definition).weights)
    with pytest.warns(SpecWarning, match="not trained"):
        found = runtime.predict(model.net, x, backend="portable", seed=3)
    assert found.shape == (23, 5)


def test_what_fit_trained_is_tested_with_the_transform_that_fit_tested_with():
    x, y = images()
    how = {"mean_value": [1.5], "scale": 0.5, "mirror": True}
    history = runtime.fit(classifier(), (x, y), epochs=1, transform=how, progress=False)
    same = runtime.predict(history, x)
    np.testing.assert_array_equal(same, runtime.predict(history, x, transform=how))
    ready = runtime.predict(history, (x - 1.5) / 2, transform=None)
    np.testing.assert_allclose(same, ready, rtol=1e-5, atol=1e-6)
    assert np.abs(same - runtime.predict(history, x, transform=None)).max() > 1e-3
    first = runtime.evaluate(history, (x, y))
    other = runtime.evaluate(history, ((x - 1.5) / 2, y), transform=None)
    assert first.loss == pytest.approx(other.loss, rel=1e-4)


def test_fit_takes_weights_under_other_names(solver, tmp_path):
    solver.net.save(tmp_path / "old.npz")
    n = classifier()
    n.stem = L.Convolution(n.data, num_output=4, kernel_size=3, **FILLED)
    n.bn = L.BatchNorm(n.stem, in_place=True, moving_average_fraction=0.5)
    n.drop = L.Dropout(n.bn, in_place=True)
    n.fc = L.InnerProduct(n.drop, num_output=5, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    n.acc = L.Accuracy(n.fc, n.label, include="TEST")
    del n.conv
    netspec.freeze(n, "*", exclude="fc")
    history = runtime.fit(
        n,
        images(),
        epochs=1,
        weights=tmp_path / "old.npz",
        rename={"conv": "stem"},
        progress=False,
    )
    (report,) = history.solver.copied
    assert report.renamed == (("conv", "stem"),)
    mine, theirs = history.net.params["stem"], solver.net.params["conv"]
    np.testing.assert_array_equal(mine[0].data, theirs[0].data)
    with pytest.raises(SpecError, match="rename is given, but no weights"):
        runtime.fit(n, images(), rename={"conv": "stem"})


def test_an_interrupt_ends_it_after_a_batch(solver):
    x, _ = images()
    read = []

    def items():
        for number in range(100_000):
            read.append(number)
            if number == 30:
                signal.raise_signal(signal.SIGINT)
            yield x[number % 23]

    for call in (
        lambda: runtime.predict(solver, items()),
        lambda: runtime.evaluate(solver, ((item, 1.0) for item in items())),
    ):
        read.clear()
        with pytest.raises(KeyboardInterrupt):
            call()
        assert 30 in read
        assert len(read) < 5000
    assert runtime.predict(solver, x).shape == (23, 5)
