"""A net with its values: from files, messages and arrays, and back."""

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from netspec.weights import Model, as_model, complete

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }
"""


def whole(model):
    return complete(model, build(model.net, State(TEST)))


@pytest.fixture(scope="module")
def net():
    return runtime.Net(NET, TEST)


@pytest.fixture(params=["caffemodel", "h5", "arrays", "message"])
def model(request, net, tmp_path):
    if request.param == "arrays":
        return as_model(
            NET, {name: [p.data for p in held] for name, held in net.params.items()}
        )
    path = str(tmp_path / f"w.{request.param}")
    if request.param == "h5":
        pytest.importorskip("h5py")
        net.save_hdf5(path)
        return as_model(NET, path)
    net.save(tmp_path / "w.caffemodel")
    if request.param == "message":
        return as_model(tmp_path / "w.caffemodel")
    return as_model(NET, path)


def test_every_layer_holds_its_arrays_whatever_they_come_from(model, net):
    held = whole(model).weights
    assert list(held) == ["a", "b"]
    for name, blobs in net.params.items():
        for array, blob in zip(held[name], blobs, strict=True):
            np.testing.assert_array_equal(array, blob.data)


def test_a_model_makes_a_message_and_a_file_with_its_values(model, net, tmp_path):
    model = whole(model)
    model.save(tmp_path / "out.caffemodel")
    assert not any(layer.blobs for layer in model.net.layer)
    for again in (model, tmp_path / "out.caffemodel"):
        other = runtime.Net(again, TEST)
        for name, blobs in net.params.items():
            for array, blob in zip(other.params[name], blobs, strict=True):
                np.testing.assert_array_equal(array.data, blob.data)


def test_a_net_alone_has_no_values():
    model = as_model(NET)
    assert model.weights is None
    assert model.to_proto() is model.net
    assert whole(model) is model


def test_layers_without_values_and_values_that_do_not_fit_are_named():
    with pytest.raises(
        SpecError, match=r"no values for layer 'a' .*, layer 'b' .*names"
    ):
        whole(as_model(NET, {}))
    wrong = {"a": [np.zeros((3, 4))], "b": []}
    with pytest.raises(ShapeError, match=r"'a' .*parameter 0 has shape \(3, 3\).*3, 4"):
        whole(as_model(NET, wrong))
    with pytest.raises(
        ShapeError, match=r"'a' .* has 2 parameters, there are 3 arrays"
    ):
        whole(as_model(NET, {"a": [np.zeros(3)] * 3}))


def test_more_than_a_message_holds_is_refused():
    large = np.broadcast_to(np.float32(0), (2**15, 2**14))
    with pytest.raises(
        SpecError, match=r"2,147,483,648 bytes.*save the model to a file"
    ):
        Model(as_model(NET).net, {"a": [large]}).to_proto()


def test_values_come_from_a_net_that_runs_and_from_what_has_one():
    net = runtime.Net(NET)
    model = as_model(NET, net)
    held = net.params["a"][0].data
    np.testing.assert_array_equal(model.weights["a"][0], held)
    before = held.copy()
    held[...] = 7
    np.testing.assert_array_equal(model.weights["a"][0], before)
    text = NET + 'layer { name: "l" type: "EuclideanLoss" bottom: "b" bottom: "x" }'
    solver = runtime.Solver(text, base_lr=0.1)
    np.testing.assert_array_equal(
        as_model(NET, solver).weights["b"][1], solver.net.params["b"][1].data
    )


def test_what_holds_no_weights_is_refused():
    with pytest.raises(SpecError, match="weights is a list; expected a path"):
        as_model(NET, [1, 2])
