"""Weights of layers that a file calls otherwise: mappings, functions, patterns."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.schema import TEST
from netspec.weights import as_model, save_weights

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [2, 5] } } }
layer { name: "fc1" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 3 } }
layer { name: "fc2" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 3 } }
layer { name: "act" type: "PReLU" bottom: "b" top: "b" }
"""
RNG = np.random.default_rng(5)


def matrix(rows=3, columns=5):
    return RNG.normal(size=(rows, columns)).astype(np.float32)


THEIRS = {
    "old/1": [matrix(), matrix(1)[0, :3]],
    "old/2": [matrix(3, 3), matrix(1)[0, :3]],
    "act": [matrix(1, 3)[0]],
    "head": [matrix(2, 2)],
}
KEYS = {
    "x.weight": THEIRS["old/1"][0],
    "x.bias": THEIRS["old/1"][1],
    "y.weight": THEIRS["old/2"][0],
    "y.bias": THEIRS["old/2"][1],
    "slopes": THEIRS["act"][0],
    "steps": np.array(4),
}
BY_KEY = {
    "x.weight": "fc1/0",
    "x.bias": "fc1/1",
    "y.weight": "fc2/0",
    "y.bias": "fc2/1",
    "slopes": "act",
}


@pytest.fixture
def path(tmp_path):
    save_weights(tmp_path / "w.caffemodel", THEIRS)
    return tmp_path / "w.caffemodel"


@pytest.fixture
def keyed(tmp_path):
    np.savez(tmp_path / "state.npz", **KEYS)
    return tmp_path / "state.npz"


def check(net):
    for ours, theirs in {"fc1": "old/1", "fc2": "old/2", "act": "act"}.items():
        for blob, array in zip(net.params[ours], THEIRS[theirs], strict=True):
            np.testing.assert_array_equal(blob.data, array)


@pytest.mark.parametrize(
    "names",
    [
        {"old/1": "fc1", "old/2": "fc2"},
        {"old/1": "fc1", "old/2": "fc2", "head": None},
        lambda name: name.replace("old/", "fc"),
        [(r"old/(\d+)", r"fc\1")],
        [("old/1", "fc1"), ("he.*", None), (r"o.*/(?P<n>.)", r"fc\g<n>")],
    ],
    ids=["mapping", "leaving out", "function", "pattern", "patterns"],
)
def test_layers_are_found_under_other_names(path, names):
    net = runtime.Net(NET, TEST)
    report = net.copy_from(path, names)
    check(net)
    assert report.copied == ("fc1", "fc2", "act")
    assert report.missing == ()
    assert report.unused == ("head",)
    assert report.renamed == (("old/1", "fc1"), ("old/2", "fc2"))
    assert str(report) == (
        "3 layers copied; under other names: fc1 from old/1, fc2 from old/2; "
        "not in the net: head"
    )


def test_arrays_with_keys_of_their_own_become_those_of_layers(keyed):
    net = runtime.Net(NET, TEST)
    report = net.copy_from(keyed, BY_KEY)
    check(net)
    assert report.copied == ("fc1", "fc2", "act")
    assert report.unused == ("steps",)
    assert ("x.bias", "fc1") in report.renamed


def test_a_model_takes_names_too(path, keyed):
    for model in (
        as_model(NET, path, {"old/1": "fc1", "old/2": "fc2"}),
        as_model(NET, str(keyed), BY_KEY),
    ):
        check(runtime.Net(model, TEST))


def test_a_solver_takes_names_for_all_its_nets(path):
    solver = runtime.get_solver(
        f"net_param {{ {NET} layer {{ type: 'EuclideanLoss' bottom: 'b' bottom: 'a' "
        f"top: 'l' name: 'l' }} }} base_lr: 1 lr_policy: 'fixed' test_iter: 1 "
        f"test_interval: 1"
    )
    report = solver.copy_from(path, [(r"old/(\d+)", r"fc\1")])
    assert report.copied == ("fc1", "fc2", "act")
    for net in (solver.net, *solver.test_nets):
        check(net)


def test_names_can_change_places(tmp_path):
    save_weights(tmp_path / "w.npz", {"fc1": THEIRS["old/2"], "fc2": THEIRS["old/1"]})
    net = runtime.Net(NET.replace('"act"', '"none"'), TEST)
    with pytest.warns(SpecWarning, match="'none' did not and keep"):
        net.copy_from(tmp_path / "w.npz", {"fc1": "fc2", "fc2": "fc1"})
    np.testing.assert_array_equal(net.params["fc1"][0].data, THEIRS["old/1"][0])


def test_who_loses_its_name_to_another_is_unused(tmp_path):
    save_weights(tmp_path / "w.npz", {"new": THEIRS["act"], "act": [np.ones(4)]})
    net = runtime.Net(NET, TEST)
    with pytest.warns(SpecWarning, match="'fc1', 'fc2' did not"):
        report = net.copy_from(tmp_path / "w.npz", {"new": "act"})
    assert report.unused == ("act",)
    np.testing.assert_array_equal(net.params["act"][0].data, THEIRS["act"][0])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"old1": "fc1"}, r"gives 'old1' another name, .*mean 'old/1'\?"),
        ({"old/1": "fc11"}, r"calls 'old/1' of the file 'fc11', .*mean 'fc1'\?"),
        ({"old/1": "fcx/0"}, "calls 'old/1' of the file 'fcx/0', which the net does"),
        (
            {"old/1": "fc1", "head": "fc1"},
            "'old/1' and 'head' of the file are all to become 'fc1'",
        ),
        (
            {"act": "fc1/0", "head": "fc1/0"},
            "'act' and 'head' of the file are all to become 'fc1'",
        ),
        ([("new/.*", "fc1")], "no layer of the file fits 'new/.*'"),
        ([("(old/1", "fc1")], r"'\(old/1' and 'fc1': missing \)"),
        ([("old/1", r"fc\2")], "names: .*invalid group reference"),
        (lambda name: "fc1", "'old/1' and 'old/2' and 'act' and 'head' of the file"),
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_copied(path, names, said):
    net = runtime.Net(NET, TEST, seed=2)
    before = net.params["act"][0].data.copy()
    with pytest.raises(SpecError, match=rf"w.caffemodel: .*{said}|{said}"):
        net.copy_from(path, names)
    np.testing.assert_array_equal(net.params["act"][0].data, before)


def test_shapes_under_other_names_are_compared(path):
    net = runtime.Net(NET, TEST)
    with pytest.raises(ShapeError, match=r"layer 'fc2' .* has shape \(3, 3\), the f"):
        net.copy_from(path, {"old/1": "fc2"})
    with pytest.raises(ShapeError, match=r"layer 'fc1' .* has 2 parameters, the file"):
        net.copy_from(path, {"head": "fc1/1"})
