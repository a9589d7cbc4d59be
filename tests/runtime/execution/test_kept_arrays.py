"""Host arrays that a script keeps across passes are live, on every backend."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest

import runtime
import runtime.pycaffe as caffe
from runtime import TEST, TRAIN, Layer
from tests.runtime.execution.kept import (
    DOUBLE,
    HEAD,
    LOSS,
    TIED,
    solver_of,
)
from tests.runtime.execution.own_layers import own as own_layer


@pytest.fixture(params=["under test", "portable", "stand-in"])
def name(request, stand_in):
    """The name of a backend."""
    if request.param == "under test":
        return request.getfixturevalue("backend").name
    return request.param


def own(kind, bottom):
    return own_layer("own", kind, bottom).replace(
        'module: "tests.runtime.execution.own_layers"', f'module: "{__name__}"'
    )


# ------------------------------------------------------------ what kept arrays do


def test_a_kept_input_is_read_in_every_pass(name):
    net = runtime.Net(HEAD + DOUBLE, backend=name)
    x = net.blobs["x"].data
    found = []
    for value in (1, 2, 3):
        x[...] = value
        found.append(float(net.forward()["z"][1, 2]))
    assert found == [3, 5, 7]
    assert net.blobs["x"].data is x


def test_a_view_of_a_kept_array_is_enough(name):
    net = runtime.Net(HEAD + DOUBLE, backend=name)
    row = net.blobs["x"].data[1].reshape(3)[1:]
    net.forward()
    gc.collect()
    row[...] = 4
    assert net.forward()["z"].tolist() == [[1, 1, 1], [1, 9, 9]]


def test_a_kept_output_shows_what_the_pass_computed(name):
    net = runtime.Net(HEAD + DOUBLE, backend=name)
    y = net.blobs["y"].data
    out = net.forward(x=np.ones((2, 3)))
    assert (y == 2).all()
    net.blobs["x"].data[...] = 5
    net.forward_steps()
    assert (y == 10).all()
    assert (out["z"] == 11).all()


def test_kept_parameters_follow_and_lead(name):
    net = runtime.Net(TIED + LOSS, TRAIN, backend=name)
    w, dw = net.params["a"][0].data, net.params["a"][0].diff
    for value in (1, 2, 3):
        w[...] = value
        net.forward(x=np.ones((2, 3)))
        assert (net.blobs["b"].data == 9 * value**2).all()
    net.clear_param_diffs()
    assert not dw.any()
    net.backward()
    once = dw.copy()
    assert once.all()
    dw[0, 1] += 100
    net.backward()
    twice = 2 * once
    twice[0, 1] += 100
    np.testing.assert_allclose(dw, twice, rtol=1e-6)


def test_a_kept_gradient_of_an_output_is_read_in_every_pass(name):
    net = runtime.Net("force_backward: true" + HEAD + DOUBLE, backend=name)
    dz, dx = net.blobs["z"].diff, net.blobs["x"].diff
    for value in (1, 2, 3):
        dz[...] = value
        net.forward()
        net.backward()
        assert (dx == 2 * value).all()


def test_a_solver_reads_and_updates_kept_parameters(name, tmp_path):
    solver = solver_of(TIED + LOSS, tmp_path, name)
    x, w = solver.net.blobs["x"].data, solver.net.params["b"][0].data
    x[...] = 1
    w[...] = 0.5
    solver.step(1)
    after = w.copy()
    assert (after < 0.5).all()
    w[...] = 0  # no gradient comes through zeros
    solver.step(1)
    assert not w.any()
    seen = []
    solver.add_callback(before=lambda: w.fill(0.5), after=lambda: seen.append(w[0, 0]))
    solver.step(1)
    assert seen == [0.5]
    np.testing.assert_array_equal(w, after)


def test_what_a_callback_does_to_kept_gradients_counts(name, tmp_path):
    solver = solver_of(TIED + LOSS, tmp_path, name)
    solver.net.blobs["x"].data[...] = 1
    w, dw = (getattr(solver.net.params["a"][0], one) for one in ("data", "diff"))
    solver.add_callback(before=lambda: None, after=lambda: dw.fill(2))
    for step in (1, 2, 3):
        solver.step(1)
        np.testing.assert_allclose(w, 1 - 0.02 * step, rtol=1e-5)


# ------------------------------------------------------------ the same memory


def test_layers_and_nets_that_share_parameters_show_one_array(name):
    train = runtime.Net(TIED + LOSS, TRAIN, backend=name)
    test = runtime.Net(TIED, TEST, backend=name, share_with=train)
    every = [net.params[k][0].data for net in (train, test) for k in "ab"]
    every[1][...] = 0.25
    for array in every:
        assert (array == 0.25).all()
    assert (train.params["a"][0].data == 0.25).all()
    assert (test.forward(x=np.ones((2, 3)))["b"] == 0.5625).all()
    every[2][...] = 0.5
    train.forward(x=np.ones((2, 3)))
    assert (train.blobs["b"].data == 2.25).all()
    assert (test.params["b"][0].data == 0.5).all()


def test_snapshots_of_shared_parameters_hold(name, tmp_path):
    pytest.importorskip("h5py")
    for kind in ("caffemodel", "h5"):
        one, other = (runtime.Net(TIED, backend=name) for _ in range(2))
        one.params["a"][0].data[...] = np.arange(9).reshape(3, 3)
        save = one.save_hdf5 if kind == "h5" else one.save
        save(tmp_path / f"w.{kind}")
        kept = other.params["b"][0].data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an HDF5 file has them at the owner only
            other.copy_from(tmp_path / f"w.{kind}")
        np.testing.assert_array_equal(kept, one.params["b"][0].data)
        x = np.linspace(0, 1, 6).reshape(2, 3)
        np.testing.assert_array_equal(one.forward(x=x)["b"], other.forward(x=x)["b"])


ALIASES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } }
layer { name: "r" type: "Reshape" bottom: "p" top: "r" reshape_param {
  shape { dim: 3 dim: 2 } } }
layer { name: "f" type: "Flatten" bottom: "r" top: "f" flatten_param { axis: 0 } }
layer { name: "u" type: "Power" bottom: "f" top: "u" power_param { shift: 1 } }
layer { name: "v" type: "Power" bottom: "f" top: "v" power_param { shift: 2 } }
"""


def test_blobs_of_the_same_memory_are_one_array(name):
    net = runtime.Net("force_backward: true" + ALIASES, backend=name)
    same = [b for b in net.blobs if b[0] in "prf"]
    assert len(same) == 5  # with the two of the Split
    net.forward(x=np.ones((2, 3)))
    for turn, writer in enumerate(same):
        arrays = [net.blobs[one].data for one in same]
        net.blobs[writer].data[...] = turn
        for array in arrays:
            assert (array == turn).all()
        out = net.forward(start="u")
        assert (out["u"] == turn + 1).all()
        assert (net.forward(start="v")["v"] == turn + 2).all()
    gradients = [net.blobs[one].diff for one in ("p", "r", "f")]
    net.blobs["r"].diff[...] = 3
    assert all((array == 3).all() for array in gradients)
    net.backward(start="p")
    assert (net.blobs["x"].diff == 6).all()


# ------------------------------------------------------------ passes over some layers


def test_what_is_written_between_layers_goes_on_from_there(name):
    net = runtime.Net(HEAD + DOUBLE, backend=name)
    y = net.blobs["y"].data
    net.forward(x=np.ones((2, 3)))
    for value in (7, 7, 8):
        y[...] = value
        assert (net.forward(start="z")["z"] == value + 1).all()
        assert (net.forward()["z"] == 3).all()
    y[1] = 4
    assert net.forward(start="z")["z"].tolist() == [[3, 3, 3], [5, 5, 5]]
    assert (net.forward(start="z", x=np.full((2, 3), 9))["z"][1] == 5).all()
    assert (net.forward(end="y")["y"] == 18).all()
    assert (y == 18).all()
    assert (net.forward(start="z")["z"] == 19).all()


def test_an_array_kept_while_others_pass_brings_nothing_old_back(name):
    net = runtime.Net(HEAD + DOUBLE, backend=name)
    y = net.blobs["y"].data
    for value in (1, 2, 3):
        net.forward(x=np.full((2, 3), value))
        assert (net.forward(start="z")["z"] == 2 * value + 1).all()
        assert (y == 2 * value).all()


def test_gradients_written_ahead_of_forward_are_there_in_backward(name):
    net = runtime.Net("force_backward: true" + HEAD + DOUBLE, backend=name)
    net.blobs["z"].diff[...] = 3
    net.forward(x=np.ones((2, 3)))
    net.backward()
    assert (net.blobs["x"].diff == 6).all()


def test_parameters_kept_over_a_reshape_stay_live(name):
    net = runtime.Net(TIED, backend=name)
    w = net.params["a"][0].data
    net.blobs["x"].reshape(5, 3)
    net.reshape()
    w[...] = 2
    assert (net.forward(x=np.ones((5, 3)))["b"] == 36).all()
    net.blobs["x"].reshape(4, 3)
    w[...] = 1
    net.blobs["x"].data[...] = 1
    assert (net.forward()["b"] == 9).all()


# ------------------------------------------------------------ layers in Python


class Keeper(Layer):
    """y = w x; it keeps all arrays that it finds first."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.arrays = None

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if self.arrays is None:
            self.arrays = bottom[0].data, top[0].data, self.blobs[0].data
            self.gradients = bottom[0].diff, top[0].diff
        x, y, w = self.arrays
        y[...] = w * x

    def backward(self, top, propagate_down, bottom):
        dx, dy = self.gradients
        dx[...] = self.arrays[2] * dy
        self.blobs[0].diff[...] += (self.arrays[0] * dy).sum()


class Failing(Layer):
    """y = x, or an error."""

    fails = False

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if self.fails:
            raise ValueError("on purpose")
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff


def test_layers_in_python_may_keep_arrays_too(name):
    text = "force_backward: true" + HEAD + DOUBLE + own("Keeper", "y")
    net = runtime.Net(text, TRAIN, backend=name, allow_python=True)
    w = net.layer_dict["own"].blobs[0].data
    dw = net.params["own"][0].diff
    for value in (1, 2, 3):
        w[...] = value
        net.forward(x=np.full((2, 3), value))
        assert (net.blobs["own"].data == 2 * value**2).all()
        net.blobs["own"].diff[...] = 1
        net.clear_param_diffs()
        net.backward()
        assert (net.blobs["x"].diff == 2 * value).all()
        assert dw.tolist() == [12 * value]


def test_arrays_kept_over_a_pass_that_failed_stay_live(name):
    text = HEAD + DOUBLE + own("Failing", "z")
    net = runtime.Net(text, backend=name, allow_python=True)
    x, y = net.blobs["x"].data, net.blobs["y"].data
    x[...] = 1
    net.forward()
    layer = net.layer_dict["own"]
    layer.fails = True
    x[...] = 2
    with pytest.raises(ValueError, match="on purpose"):
        net.forward()
    assert (y == 4).all()
    layer.fails = False
    y[...] = 6
    assert (net.forward(start="z")["own"] == 7).all()
    assert (net.forward()["own"] == 5).all()


def test_functions_between_layers_may_write_into_kept_arrays(name):
    text = "force_backward: true" + HEAD + DOUBLE
    net = caffe.Net(text, caffe.TRAIN, backend=name)
    y, dz = net.blobs["y"].data, net.blobs["z"].diff
    kept = {"y": lambda: y.__iadd__(10), "z": lambda: dz.fill(4)}
    calls = [kept.get(name, lambda: None) for name in net._layer_names]
    net.after_forward(lambda layer: calls[layer]())
    net.blobs["x"].data[...] = 1
    for _ in range(2):
        net.forward_backward()
        assert (net.blobs["z"].data == 13).all()
        assert (net.blobs["x"].diff == 8).all()
        dz[...] = 0
