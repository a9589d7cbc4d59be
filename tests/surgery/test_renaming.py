"""Layers and blobs get other names, and nothing else changes."""

import numpy as np
import pytest

from netspec.errors import SpecError
from netspec.surgery import rename
from netspec.weights import as_model
from tests.example_nets import DATA, layer, names
from tests.example_nets import net as parsed
from tests.surgery.common import outputs, random_model, snapshot

SHARED = "inner_product_param { num_output: 3 } "
NET = (
    DATA
    + layer("ip1", "InnerProduct", "data", "ip1", 'param { name: "w" } ' + SHARED)
    + layer("relu1", "ReLU", "ip1", "ip1")
    + layer("ip2", "InnerProduct", "ip1", "y", 'param { name: "w" } ' + SHARED)
)


def renamed(*given, **options):
    model = random_model(NET)
    before = snapshot(model)
    result = rename(model, *given, **options)
    assert snapshot(model) == before
    (old,), (new,) = outputs(model).values(), outputs(result).values()
    np.testing.assert_array_equal(old, new)
    assert [layer.param[0].name for layer in result.net.layer if layer.param] == [
        "w"
    ] * 2
    return result


def blobs(model):
    return [[*layer.bottom, *layer.top] for layer in model.net.layer]


def test_layers_and_blobs_of_a_name_are_renamed_together():
    result = renamed({"ip1": "fc1", "y": "z"})
    assert names(result.net) == ["in", "fc1", "relu1", "ip2"]
    assert blobs(result) == [["data"], ["data", "fc1"], ["fc1", "fc1"], ["fc1", "z"]]
    assert list(result.weights) == ["fc1", "ip2"]


def test_layers_alone_and_blobs_alone():
    result = renamed(layers={"ip1": "a"}, blobs={"ip1": "b"})
    assert names(result.net) == ["in", "a", "relu1", "ip2"]
    assert blobs(result)[1:3] == [["data", "b"], ["b", "b"]]
    assert renamed({"ip1": "c", "y": "d"}, blobs={"ip1": "b"}).net.layer[1].top == ["b"]


def test_a_function_names_all():
    result = renamed(str.upper)
    assert names(result.net) == ["IN", "IP1", "RELU1", "IP2"]
    assert blobs(result)[3] == ["IP1", "Y"]
    assert list(result.weights) == ["IP1", "IP2"]


def test_names_are_exchanged_at_once():
    result = renamed(layers={"ip1": "ip2", "ip2": "ip1"})
    assert names(result.net) == ["in", "ip2", "relu1", "ip1"]


def test_layers_of_one_name_keep_one():
    both = layer("d", "Input", "", "x", "include { phase: TRAIN }") + layer(
        "d", "Input", "", "x", "include { phase: TEST }"
    )
    result = rename(parsed(both), {"d": "e"})
    assert names(result.net) == ["e", "e"]
    assert result.weights is None


@pytest.mark.parametrize(
    ("given", "options", "reason"),
    [
        (
            {"ip3": "x", "yy": "x"},
            {},
            "2 mistakes: .* no layer or blob 'ip3'; did you ",
        ),
        ({}, {"layers": {"data": "x"}}, "no layer 'data'"),
        ({}, {"blobs": {"relu1": "x"}}, "no blob 'relu1'"),
        (
            {},
            {"layers": {"ip1": "ip2"}},
            "layers 'ip1' and 'ip2' would both be called 'i",
        ),
        (
            {},
            {"blobs": lambda _: "b"},
            "blobs 'data' and 'ip1' would both be called 'b'",
        ),
        ({"ip1": ""}, {}, "layer 'ip1' would be called ''; expected a name"),
        ({"ip1": 3}, {}, "layer 'ip1' would be called 3; expected a name"),
        (None, {}, "needs names, layers or blobs"),
    ],
)
def test_names_that_cannot_be_are_refused(given, options, reason):
    with pytest.raises(SpecError, match=reason):
        rename(random_model(NET), given, **options)


def test_values_of_a_layer_that_the_net_lacks_are_not_overwritten():
    model = random_model(NET)
    more = as_model(model.net, {**model.weights, "old": [np.zeros(3)]})
    with pytest.raises(SpecError, match="layers 'ip1' and 'old' would both be called"):
        rename(more, {"ip1": "old"})
    assert list(rename(more, {"old": "older"}).weights) == ["ip1", "ip2", "older"]


def test_data_sets_keep_their_names():
    text = layer("d", "HDF5Data", "", "x", 'hdf5_data_param { source: "l" }')
    with pytest.raises(
        SpecError, match=r"'d' \(HDF5Data\): its top 'x' is the name of"
    ):
        rename(parsed(text), {"x": "y"})
    assert names(rename(parsed(text), {"d": "e"}).net) == ["e"]
