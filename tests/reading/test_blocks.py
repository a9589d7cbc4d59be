"""Nets as blocks: a spec that is called."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError
from netspec.language import record
from tests.example_nets import TOWER, TRAIN_TEST, names
from tests.random_specs import specs, without_warnings


def test_a_net_is_a_block():
    tower = netspec.load(TOWER)
    n = NetSpec("pair")
    n.left, n.right = L.Input(shape=[4, 3, 12, 11], ntop=2)
    n.a = tower(n.left)
    n.b = tower(data=n.right)
    n.both = L.Concat(n.a, n.b.fc8)
    net = n.to_proto()
    assert names(net)[1:6] == ["a/conv1", "a/relu1", "a/pool1", "a/fc8", "a/prob"]
    assert list(net.layer[-1].bottom) == ["a/prob", "b/fc8"]
    assert net.layer[1].param[0].name == "a/w"
    assert net.layer[6].param[0].name == "b/w"
    assert n.a.pool1.shape == (4, 5, 5, 5)
    summary = netspec.summarize(n).as_dict()
    single = netspec.summarize(tower(n.left).to_proto()).as_dict()
    assert summary["num_params"] == 2 * single["num_params"]
    n.a.fc8.fn.params["num_output"] = 9
    assert n.b.fc8.fn.params["num_output"] == tower.fc8.fn.params["num_output"] == 7


@pytest.mark.parametrize(
    "sharing",
    [lambda tower: functools.partial(tower, shared=True), netspec.shared],
    ids=["shared=True", "netspec.shared"],
)
def test_a_block_can_share_its_parameters(sharing):
    twin = sharing(netspec.load(TOWER))
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.y = L.Input(shape=[2, 3, 9, 8])
    n.a, n.b = twin(n.x), twin(n.y)
    net = n.to_proto()
    first, second = (
        [[p.name for p in layer.param] for layer in net.layer if name in layer.name]
        for name in ("a/", "b/")
    )
    assert first == second == [["w", "a/conv1_b"], [], [], ["a/fc8_w", "a/fc8_b"], []]
    assert net.layer[2].param[0].lr_mult == 0.5
    once = netspec.summarize(TOWER).as_dict()["num_params"]
    assert netspec.summarize(n).as_dict()["num_params"] == once


def test_parameters_of_a_block_can_be_named_otherwise():
    tower = netspec.load(TOWER)
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.a, n.b, n.c = tower(n.x), tower(n.x), tower(n.x)
    n.a.conv1.fn.params["param"][0]["name"] = "mine"
    n.b.conv1.fn.params["param"] = "mine"
    del n.c.conv1.fn.params["param"]
    given = [[p.name for p in each.param] for each in n.to_proto().layer]
    assert [each for each in given if each] == [["mine"], ["mine"]]


def test_names_that_the_recording_gives_stay(monkeypatch):
    plain = record.record

    def naming(type_name, bottoms, fields):
        made = plain(type_name, bottoms, fields)
        if type_name == "Convolution":
            made.fn.params["param"] = [dict(name="common")]
        return made

    monkeypatch.setattr(record, "record", naming)
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.a = netspec.load(TOWER)(n.x)
    assert n.to_proto().layer[1].param[0].name == "common"


def test_unnamed_instances_have_parameters_of_their_own():
    tower = netspec.load(TOWER)
    x = L.Input(shape=[2, 3, 9, 8])
    net = L.Concat(tower(x), tower(x)).to_proto()
    shared = [p.name for layer in net.layer for p in layer.param]
    assert len(shared) == len(set(shared)) == 2


def test_a_block_that_is_not_assigned_keeps_its_names():
    tower = netspec.load(TOWER)
    tower.conv1.fn.params["name"] = "first"
    inside = ["first", "relu1", "pool1", "fc8", "prob"]
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.both = L.Concat(tower(n.x), tower(n.x))
    paths = [f"{folder}/{name}" for folder in ("tower1", "tower2") for name in inside]
    assert names(n.to_proto()) == ["x", *paths, "both"]

    @netspec.module
    def branch(x):
        return L.Sigmoid(tower(x), name="output")

    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.a = branch(n.x)
    paths = [f"a/tower1/{name}" for name in inside]
    assert names(n.to_proto()) == ["x", *paths, "a/output"]
    assert n["a/tower1/fc8"].shape == (2, 7)


def test_a_module_may_return_a_block():
    tower = netspec.load(TOWER)
    tower.conv1.fn.params["name"] = "first"
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.a = netspec.module(lambda x: tower(x))(n.x)
    inside = ["a/first", "a/relu1", "a/pool1", "a/fc8", "a/prob"]
    assert names(n.to_proto()) == ["x", *inside]


def test_data_layers_are_inputs_by_name():
    block = netspec.load(TRAIN_TEST)
    n = NetSpec()
    n.x = L.Input(shape=[5, 8])
    n.y = L.Input(shape=[5])
    n.net = block(data=n.x, label=n.y)
    net = n.to_proto()
    assert "net/mnist" not in names(net)
    assert [layer.name for layer in net.layer if layer.type == "Dropout"] == [
        "net/drop"
    ] * 2
    assert list(net.layer[3].bottom) == ["x"]
    with pytest.raises(SpecError, match="'label' is not given"):
        block(data=n.x)


def test_phases_of_different_batches_are_a_block():
    text = """
layer { name: "d" type: "DummyData" top: "x" top: "y" include { phase: TRAIN }
  dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "d" type: "DummyData" top: "x" top: "y" include { phase: TEST }
  dummy_data_param { shape { dim: 5 dim: 3 } shape { dim: 5 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss" }
layer { name: "train" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "train"
  include { phase: TRAIN } }
"""
    relu = 'layer { name: "s" type: "ReLU" bottom: "x" top: "s" }\n'
    n = NetSpec()
    n.block = netspec.load(
        text.replace('bottom: "x"', 'bottom: "s"').replace(
            'layer { name: "loss"', relu + 'layer { name: "loss"'
        )
    )()
    assert names(n.to_proto())[2:] == ["block/s", "block/loss", "block/train"]


def test_a_block_in_a_block():
    inner = netspec.load(TOWER)
    outer = NetSpec("outer")
    outer.x = L.Input(shape=[2, 3, 9, 8])
    outer.inner = inner(outer.x)
    outer.last = L.Sigmoid(outer.inner)
    n = NetSpec()
    n.z = L.Input(shape=[2, 3, 9, 8])
    n.o = outer(n.z)
    net = n.to_proto()
    assert names(net)[1] == "o/inner/conv1"
    assert net.layer[1].param[0].name == "o/inner/w"
    assert list(net.layer[-1].bottom) == ["o/inner/prob"]


def test_wrong_inputs_of_a_block_are_errors():
    tower = netspec.load(TOWER)
    x = L.Input(shape=[2, 3, 9, 8])
    with pytest.raises(SpecError, match="no input 'dat'; did you mean 'data'"):
        tower(dat=x)
    with pytest.raises(SpecError, match="'data' is not given; data="):
        tower()
    with pytest.raises(SpecError, match=r"takes 1 inputs \(data\); got 2"):
        tower(x, x)
    with pytest.raises(SpecError, match="'data' is given twice"):
        tower(x, data=x)
    with pytest.raises(SpecError, match="expected a top"):
        tower("data")  # type: ignore[arg-type]
    with pytest.raises(
        SpecError, match=r"in a block: layer 'conv1' \(Convolution\), <text>:4"
    ):
        tower(L.Input(shape=[2]))


def test_a_block_with_several_outputs_stands_for_none_of_them():
    two = netspec.load(TOWER.replace('bottom: "fc8"', 'bottom: "pool1"'))
    with pytest.raises(SpecError, match="NetSpec without a top named 'output'"):
        L.ReLU(two(L.Input(shape=[2, 3, 9, 8])))


@given(specs())
@settings(max_examples=40, deadline=None)
def test_every_spec_is_a_block(spec):
    net = without_warnings(spec.to_proto)
    block = netspec.load(net)
    n = NetSpec()
    inputs = {
        top: L.Input(shape=[2, 3, 8, 8])
        for layer in net.layer
        if layer.type == "Input"
        for top in layer.top
    }
    n.folder = block(**inputs)
    made = without_warnings(n.to_proto)
    rest = [layer for layer in net.layer if layer.type != "Input"]
    ours = [layer for layer in made.layer if layer.type != "Input"]
    assert [f"folder/{layer.name}" for layer in rest] == [layer.name for layer in ours]
    assert [len(layer.bottom) for layer in rest] == [
        len(layer.bottom) for layer in ours
    ]
