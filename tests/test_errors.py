"""Errors carry the name of their layer apart from what is wrong."""

import copy
import pickle

import pytest

from netspec.coord_map import NoCrop
from netspec.errors import (
    ShapeError,
    SpecError,
    TextError,
    UnknownShape,
    UnsupportedError,
    joined,
    layer_label,
)
from netspec.graph import build, diagnose
from netspec.language.entries import NoSuchTop
from netspec.nets.state import State
from netspec.ops import infer
from netspec.schema import LayerParameter
from runtime.backends import get_backend
from runtime.layers.base import portable_kernels
from tests.example_nets import DATA, fc, layer, net

WHO = "layer 'conv1' (Convolution)"
ERRORS = [
    SpecError("too many", layer=WHO),
    UnknownShape("unknown", layer=WHO),
    NoCrop("no crop"),
    NoSuchTop("no top is named 'x'"),
    TextError("what?", file="a.prototxt", line=3, column=7),
]


def test_a_layer_is_named_with_its_type():
    assert layer_label("conv1", "Convolution") == WHO


def test_an_error_without_a_layer_is_its_text():
    error = SpecError("too many")
    assert (str(error), error.text, error.layer) == ("too many", "too many", "")
    assert error.args == ("too many",)


def test_the_layer_stands_before_the_text():
    error = ShapeError("too many", layer=WHO)
    assert str(error) == f"{WHO}: too many"
    assert (error.text, error.layer) == ("too many", WHO)
    assert error.args == (f"{WHO}: too many",)


def test_an_error_can_be_told_of_another_layer_or_with_other_words():
    error = UnknownShape("too many", layer=WHO)
    there = error.replaced(layer=f"{WHO}, net.py:3")
    assert str(there) == f"{WHO}, net.py:3: too many"
    assert type(there) is UnknownShape
    assert str(there.replaced(text="too few")) == f"{WHO}, net.py:3: too few"
    assert str(there.replaced(layer="")) == "too many"
    assert str(error) == f"{WHO}: too many"


def test_an_error_in_text_keeps_its_place():
    error = ERRORS[-1].replaced(layer=WHO)
    assert str(error) == f"{WHO}: a.prototxt:3:7: what?"
    assert (error.file, error.line, error.column) == ("a.prototxt", 3, 7)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_copied_and_pickled(error):
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.args == error.args
        assert vars(other) == vars(error)


def test_one_of_several_errors_stays_itself_and_more_are_counted():
    first, second = ERRORS[0], UnknownShape("unknown", layer="layer 'b' (Data)")
    alone = joined([second])
    assert (type(alone), alone.layer) == (ShapeError, "layer 'b' (Data)")
    both = joined([first, second])
    assert (type(both), both.layer) == (SpecError, "")
    assert str(both) == f"2 mistakes: (1) {first}; (2) {second}"
    assert type(joined([second, second])) is ShapeError


def test_what_a_layer_refuses_names_it():
    wrong = LayerParameter(name="p", type="Dropout")
    wrong.dropout_param.dropout_ratio = 2
    with pytest.raises(SpecError) as caught:
        infer(wrong, [(3, 4)])
    assert caught.value.layer == "layer 'p' (Dropout)"
    assert caught.value.text.startswith("dropout_ratio is 2")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (layer("a", "Nothing", "data", "a"), "Nothing"),
        (layer("a", "ReLU", "data data", "a"), "ReLU"),
        (layer("a", "ReLU", "x", "a"), "ReLU"),
        (fc("a", "data", "data", 3), "InnerProduct"),
        (layer("a", "Softmax", "data", "a", "softmax_param { axis: 7 }"), "Softmax"),
        (fc("a", "data", "a", 3, "param {} param {} param {}"), "InnerProduct"),
    ],
)
def test_what_a_graph_refuses_names_its_layer(text, kind):
    with pytest.raises(SpecError) as caught:
        build(net(DATA + text), State())
    assert isinstance(caught.value, ShapeError) is (kind == "Softmax")
    assert caught.value.layer == f"layer 'a' ({kind})"
    assert str(caught.value) == f"layer 'a' ({kind}): {caught.value.text}"


def test_a_diagnosis_has_the_error_of_each_layer():
    text = DATA + fc("a", "data", "a", 3) + layer("b", "InnerProduct", "a", "b")
    found = diagnose(net(text), State())
    assert [mistake and mistake.layer for mistake in found.mistakes] == [
        None,
        None,
        "layer 'b' (InnerProduct)",
    ]
    assert str(found.error) == str(found.mistakes[2])


def test_an_unsupported_layer_is_named(monkeypatch):
    graph = build(net(DATA + layer("a", "ReLU", "data", "a")), State())
    monkeypatch.delitem(portable_kernels(), "ReLU")  # a type that is not computed yet
    with pytest.raises(UnsupportedError) as caught:
        get_backend("portable").kernel(graph.nodes[1], "float32")
    assert caught.value.layer == "layer 'a' (ReLU)"
