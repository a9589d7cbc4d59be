"""Tests for mistakes in calls of `predict` and `evaluate`."""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, SpecWarning

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(10, 4)), np.arange(10) % 3


@pytest.fixture(scope="module")
def net():
    n = NetSpec("small")
    n.x, n.t = L.Input(shape=[4, 4]), L.Input(shape=[4])
    n.y = L.InnerProduct(n.x, num_output=3, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.y, n.t)
    return runtime.Net(n)


def test_unknown_arguments_name_the_right_ones(net):
    with pytest.raises(SpecError, match="no argument 'topk'; did you mean 'top_k'"):
        runtime.evaluate(net, (X, T), topk=2)
    with pytest.raises(SpecError, match="'batchsize'; did you mean 'batch_size'"):
        runtime.predict(net, X, batchsize=2)


@pytest.mark.parametrize("blobs", [5, ["y", 5]])
def test_blobs_are_names(net, blobs):
    with pytest.raises(SpecError, match="blobs has 5; expected the names"):
        runtime.predict(net, X, blobs=blobs)


def test_metrics_are_functions_that_return_a_number(net):
    with pytest.raises(SpecError, match="metric 'int' is 5"):
        runtime.evaluate(net, (X, T), metrics=5)
    for wrong in ("x", np.ones(3), None):
        with pytest.raises(SpecError, match="metric 'own' returns"):
            runtime.evaluate(net, (X, T), metrics={"own": lambda s, t, v=wrong: v})
    result = runtime.evaluate(net, (X, T), metrics={"own": lambda s, t: np.ones(1)})
    assert result.own == 1


def test_errors_of_a_metric_say_whose_they_are(net):
    with pytest.raises(TypeError) as caught:
        runtime.evaluate(net, (X, T), metrics={"own": lambda scores: 1})
    assert "raised by the metric 'own'" in caught.value.__notes__[0]


def test_class_names(net):
    with pytest.raises(SpecError, match="class_names is 5"):
        runtime.evaluate(net, (X, T), class_names=5)
    with pytest.warns(SpecWarning, match="'a' more than once"):
        runtime.evaluate(net, (X, T), class_names=["a", "b", "a"])


def test_measures_of_classes_by_name_and_number(net):
    found = runtime.evaluate(net, (X, T), class_names=["a", "b", "c"]).per_class
    assert list(found) == ["a", "b", "c"]
    assert "b" in found
    assert "d" not in found
    assert found[1] == found["b"]
    for wrong in (3, -1, "d"):
        with pytest.raises(SpecError, match="no class is called"):
            found[wrong]
