"""Layers whose type is a class of netspec.layer."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import netspec
import runtime
from netspec.errors import SpecError
from netspec.nets.own_types import as_own
from netspec.ops.own_layer import DEFINED
from netspec.schema import LayerParameter
from tests.graph.test_opaque import DATA, layer

pytestmark = pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")


@pytest.fixture
def raised():
    before = dict(DEFINED)

    @netspec.layer
    class RaisedBy:
        """y = x + by, and what else a message can hold."""

        by: float = 1.0
        times: int = 1
        words: list[str] = ()
        flag: bool = False

        def forward(self, c, x):
            return x + self.by * self.times * (-1 if self.flag else 1)

        def backward(self, c, dy):
            return dy

    yield RaisedBy
    DEFINED.clear()
    DEFINED.update(before)


def of(options):
    kept = [options] if options else []
    return LayerParameter(name="r", type="RaisedBy", top=["r"], unknown_fields=kept)


def test_the_fields_of_its_message_are_those_of_the_class(raised):
    own = as_own(of('raised_by_param { by: -2.5 times: 3 words: "a\\n" words: "b" }'))
    assert own.type == "Python"
    assert own.python_param.layer.endswith("RaisedBy")
    assert own.python_param.param_str == (
        '{"by": -2.5, "times": 3, "words": ["a\\n", "b"], "flag": false}'
    )
    assert not own.unknown_fields


def test_a_net_of_a_fork_runs_with_the_class(raised):
    text = DATA + layer(
        "r", "RaisedBy", "data", extra="raised_by_param { by: 2 flag: true }"
    )
    net = runtime.Net(text)
    net.blobs["data"].data[...] = 5
    assert np.all(net.forward()["r"] == 3)
    summary = netspec.summarize(text)
    assert summary.blobs["r"] == (2, 3, 8, 9)
    assert summary.notes == ()


def test_a_wrong_field_names_the_layer(raised):
    with pytest.raises(SpecError, match=r"layer 'r' \(RaisedBy\): bye is no field of"):
        as_own(of("raised_by_param { bye: 1 }"))


def test_other_fields_stay_and_other_types_are_left_alone(raised):
    own = as_own(of("other_param { by: 4 }"))
    assert list(own.unknown_fields) == ["other_param { by: 4 }"]
    assert '"by": 1.0' in own.python_param.param_str
    for kind in ("ReLU", "Gizmo", ""):
        given = LayerParameter(type=kind)
        assert as_own(given) is given


def test_a_class_with_the_name_of_a_type_of_a_fork_is_told_once(raised):
    @netspec.layer
    class Noise:
        """Another layer than the one of forks, of that name by chance."""

        def forward(self, c, x):
            return x

    text = DATA + layer("r", "Noise", "data")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            assert netspec.summarize(text).notes == ()
    (said,) = [str(one.message) for one in told if "class" in str(one.message)]
    assert said.startswith("layer 'r' (Noise): the type is of caffe-windows")
    assert f"taken for the class Noise of netspec.layer in module {__name__}" in said


def test_a_class_with_a_name_of_its_own_is_taken_without_a_word(raised):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_own(of(""))


def test_two_classes_of_the_name_are_an_error(raised):
    (key,) = [key for key in DEFINED if key[1].endswith("RaisedBy")]
    for module in ("here", "elsewhere"):
        one = replace(DEFINED[key], module=module, name="RaisedBy")
        DEFINED[module, "RaisedBy"] = one
    with pytest.raises(SpecError, match="several modules have a class 'RaisedBy'"):
        as_own(of(""))
