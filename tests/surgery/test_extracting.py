"""Parts of a net run by themselves, with the values that they had."""

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from netspec.surgery import extract
from tests.example_nets import fc, layer, names
from tests.example_nets import net as parsed
from tests.surgery.common import outputs, random_model, snapshot

NET = """
name: "whole"
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 2 dim: 3 dim: 6 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "x"
  convolution_param { num_output: 4 kernel_size: 3 } }
"""
NET += layer("relu", "ReLU", "x", "x") + fc("a", "x", "a", 5) + fc("b", "x", "b", 4)
NET += layer("p", "Softmax", "a", "p")
NET += layer("drop", "Dropout", "b", "b", "include { phase: TRAIN }")
NET += layer("cat", "Concat", "a b", "c")
IMAGE = np.random.default_rng(1).normal(size=(2, 3, 6, 5))


def part(*given, **options):
    model = random_model(NET)
    before = snapshot(model)
    result = extract(model, *given, **options)
    assert snapshot(model) == before
    assert set(result.weights) == {
        x for x in ("conv", "a", "b") if x in names(result.net)
    }
    assert result.net.name == "whole"
    return model, result


def blobs_of(model, *wanted):
    net = runtime.Net(model, backend="portable")
    net.forward(data=IMAGE)
    return [net.blobs[name].data.copy() for name in wanted]


@pytest.mark.parametrize(
    ("end", "kept", "output"),
    [
        ("a", ["data", "conv", "relu", "a"], "a"),
        ("x", ["data", "conv", "relu"], "x"),
        ("p", ["data", "conv", "relu", "a", "p"], "p"),
        ("c", ["data", "conv", "relu", "a", "b", "cat"], "c"),
    ],
)
def test_what_leads_to_a_layer_or_blob(end, kept, output):
    model, result = part(end)
    assert names(result.net) == kept
    (wanted,) = blobs_of(model, output)
    got = runtime.Net(result, backend="portable").forward(data=IMAGE)
    assert list(got) == [output]
    np.testing.assert_array_equal(got[output], wanted)


def test_a_layer_that_works_in_place_is_left_out_where_the_one_before_is_the_end():
    model, result = part("conv")
    assert names(result.net) == ["data", "conv"]
    got = runtime.Net(result, backend="portable").forward(data=IMAGE)["x"]
    assert got.min() < 0
    np.testing.assert_array_equal(np.maximum(got, 0), blobs_of(model, "x")[0])


def test_a_part_between_layers_has_inputs():
    model, result = part("p", "a")
    assert names(result.net) == ["x", "a", "p"]
    x, wanted = blobs_of(model, "x", "p")
    got = runtime.Net(result, backend="portable").forward(x=x)["p"]
    np.testing.assert_array_equal(got, wanted)
    model, result = part("cat", start=["a", "b"])
    assert names(result.net) == ["x", "a", "b", "cat"]
    x, wanted = blobs_of(model, "x", "c")
    got = runtime.Net(result, backend="portable").forward(x=x)["c"]
    np.testing.assert_array_equal(got, wanted)


def test_a_part_may_start_in_place():
    _, result = part("a", "relu")
    assert names(result.net) == ["x", "relu", "a"]
    assert runtime.Net(result).blobs["x"].shape == (2, 4, 4, 3)


def test_an_input_is_not_taken_for_a_layer_of_its_name():
    text = NET.replace('name: "conv"', 'name: "a"', 1).replace(
        'top: "x"', 'top: "a"', 1
    )
    text = text[: text.index('layer { name: "relu')] + fc("b", "a", "b", 4)
    text += fc("c", "b", "a2", 3) + layer("b2", "ReLU", "a2", "c")
    part = extract(random_model(text), "c", "b")
    assert (names(part.net), list(part.weights)) == (["a", "b", "c"], ["b", "c"])
    text = text.replace('name: "c"', 'name: "a"').replace('name: "a"', 'name: "q"', 1)
    part = extract(random_model(text), "a2", "b")
    assert (names(part.net), list(part.weights)) == (["a_2", "b", "a"], ["b", "a"])
    assert outputs(part)["a2"].any()


def test_what_does_not_go_through_the_start_is_kept_whole():
    _, result = part("cat", "a")
    assert names(result.net) == ["data", "conv", "relu", "a", "b", "cat"]


def test_several_ends():
    _, result = part(["p", "b"])
    assert names(result.net) == ["data", "conv", "relu", "a", "b", "p"]


def test_shapes_of_data_can_be_given():
    data = layer("d", "Data", "", "data l", "data_param { batch_size: 2 }")
    text = data + NET[NET.index('layer { name: "conv"') :]
    result = extract(parsed(text), "p", "a", shapes={"data": (2, 3, 6, 5)})
    assert names(result.net) == ["x", "a", "p"]
    assert result.weights is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["q"], "no layer or blob 'q'"),
        (["drop"], "no layer or blob 'drop'"),
        (["p", "x"], "no layer 'x'"),
        (
            ["p", "b"],
            "the end does not need layer 'b', with which the part is to start",
        ),
        ([[]], "end is empty"),
        (["p", []], "start is empty"),
    ],
)
def test_what_cannot_be_is_refused(given, reason):
    with pytest.raises(SpecError, match=reason):
        extract(random_model(NET), *given)
