"""Files read into specs: unchanged, edited, and as blocks."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import FileError, SpecError, TextError
from netspec.schema import NetParameter
from netspec.text import parse, read_net, to_text, write_message
from netspec.upgrade import upgrade_net
from tests.random_specs import specs, without_warnings
from tests.reference import needs_reference, zoo_names, zoo_path

ROOT = Path(__file__).resolve().parents[1]

TOWER = """\
name: "tower"
input: "data"
input_shape { dim: 2 dim: 3 dim: 9 dim: 8 }
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param { name: "w" lr_mult: 0.5 }
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "pool1"
  type: "Pooling"
  bottom: "conv1"
  top: "pool1"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 }
}
layer {
  name: "fc8"
  type: "InnerProduct"
  bottom: "pool1"
  top: "fc8"
  inner_product_param { num_output: 7 }
}
layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }
"""

TRAIN_TEST = """\
name: "both"
force_backward: true
state { level: 2 stage: "deep" }
layer {
  name: "mnist" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "train_lmdb" batch_size: 64 backend: LMDB }
}
layer { name: "noise" type: "DummyData" top: "noise"
  dummy_data_param { shape { dim: 4 dim: 3 }
    data_filler { type: "gaussian" std: 0.1 } } }
layer {
  name: "mnist" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "test_lmdb" batch_size: 100 backend: LMDB }
  transform_param { scale: 0.00390625 mean_value: 104 mean_value: 117 }
}
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "scores"
  inner_product_param { num_output: 10 } }
layer { name: "ip" type: "ReLU" bottom: "scores" top: "scores" }
layer { name: "drop" type: "Dropout" bottom: "scores" top: "scores"
  include { phase: TRAIN } dropout_param { dropout_ratio: 0.3 } }
layer { name: "drop" type: "Dropout" bottom: "scores" top: "scores"
  include { phase: TEST } dropout_param { dropout_ratio: 0.2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label"
  loss_weight: 0.5 include { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label"
  top: "loss" include { phase: TEST stage: "deep" } }
layer { name: "quiet" type: "Silence" bottom: "noise" }
"""

ODD = """\
layer { type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "mix" type: "Python" bottom: "a" bottom: "b" top: "c" top: "b"
  python_param { module: "m" layer: "l" param_str: "{'a': \\"b\\"}" } }
layer { name: "same" type: "Sigmoid" bottom: "c" top: "c" lrn_param { } }
layer { name: "same" type: "Sigmoid" bottom: "c" top: "d" }
layer { name: "s" type: "Own" bottom: "d" bottom: "b" }
layer { name: "two" type: "Python" bottom: "c" bottom: "d" top: "c" top: "d" }
layer { name: "last" type: "Concat" bottom: "c" bottom: "d" bottom: "b" top: "e" }
layer { name: "e" type: "Power" bottom: "e" top: "e"
  power_param { shift: -0 scale: 0.1 power: inf } }
layer { name: "e" type: "Power" bottom: "e" top: "e" }
"""


def names(net):
    return [layer.name for layer in net.layer]


@pytest.mark.parametrize("text", [TOWER, TRAIN_TEST, ODD], ids=["tower", "both", "odd"])
def test_a_net_is_written_back_as_it_was(text, tmp_path):
    net = upgrade_net(parse(text, NetParameter))
    assert netspec.load(text).to_proto() == net
    assert netspec.load(net).to_proto() == net
    assert netspec.load(netspec.load(text)).to_proto() == net
    for name in ("net.prototxt", "net.binaryproto"):
        write_message(tmp_path / name, net)
        assert netspec.load(tmp_path / name).to_proto() == net
        assert netspec.load(str(tmp_path / name)).to_proto() == net


def test_the_message_that_was_read_is_not_changed():
    net = parse(TRAIN_TEST, NetParameter)
    spec = netspec.load(net)
    spec.scores.fn.params["num_output"] = 3
    assert net == parse(TRAIN_TEST, NetParameter)
    assert spec.to_proto() != net


@pytest.mark.parametrize("text", [TOWER, TRAIN_TEST, ODD], ids=["tower", "both", "odd"])
def test_copies_and_pickles_of_what_was_read_are_equal(text):
    spec = netspec.load(text)
    net = spec.to_proto()
    assert copy.copy(spec).to_proto() == net
    assert copy.deepcopy(spec).to_proto() == net
    again = pickle.loads(pickle.dumps(spec))
    assert again.to_proto() == net
    del again["prob" if "prob" in again else again.keys()[-1]]
    assert len(again.to_proto().layer) == len(net.layer) - 1


def test_options_read_as_written_by_hand():
    spec = netspec.load(TRAIN_TEST)
    assert spec.data.fn.params == dict(
        name="mnist",
        source="test_lmdb",
        batch_size=100,
        backend="LMDB",
        include=dict(phase="TEST"),
        transform_param=dict(scale=0.00390625, mean_value=[104, 117]),
    )
    assert spec.noise.fn.params == dict(
        shape=dict(dim=[4, 3]), data_filler=dict(type="gaussian", std=0.1)
    )
    tower = netspec.load(TOWER)
    assert tower.conv1.fn.params == dict(
        num_output=5,
        kernel_size=3,
        weight_filler=dict(type="xavier"),
        param=[dict(name="w", lr_mult=0.5)],
    )
    assert isinstance(tower.conv1.fn.params["param"][0]["lr_mult"], float)


def test_an_empty_message_of_options_stays():
    net = L.ReLU(L.Input(shape=[2, 3]), relu_param=dict()).to_proto()
    assert net.layer[1].HasField("relu_param")
    assert not net.layer[1].relu_param.HasField("negative_slope")


def test_shapes_are_inferred_where_they_are_known():
    spec = netspec.load(TOWER)
    assert (spec.conv1.shape, spec.pool1.shape) == ((2, 5, 7, 6), (2, 5, 4, 3))
    assert netspec.load(TRAIN_TEST).scores.shape is None


def test_tops_are_found_by_blob_and_in_place_ones_by_layer():
    spec = netspec.load(TOWER)
    assert spec.keys() == ["data", "conv1", "relu1", "pool1", "fc8", "prob"]
    assert spec.relu1.fn.inputs == (spec.conv1,)
    assert spec.pool1.fn.inputs == (spec.relu1,)
    assert str(spec.relu1.fn.site) == "<text>:12"
    both = netspec.load(TRAIN_TEST)
    assert [top.fn.params["source"] for top in both.entries("data")] == [
        "train_lmdb",
        "test_lmdb",
    ]


def test_an_option_is_changed():
    spec = netspec.load(TOWER)
    spec.conv1.fn.params["num_output"] = 64
    spec.conv1.fn.params["weight_filler"]["type"] = "msra"
    net = spec.to_proto()
    assert net.layer[1].convolution_param.num_output == 64
    assert net.layer[1].convolution_param.weight_filler.type == "msra"


def test_a_layer_assigned_to_a_name_takes_place_and_readers_of_the_old_one():
    spec = netspec.load(TOWER)
    spec.conv1 = L.Convolution(spec.data, num_output=6, kernel_size=1)
    net = spec.to_proto()
    assert names(net) == ["input", "conv1", "relu1", "pool1", "fc8", "prob"]
    assert (net.layer[1].convolution_param.num_output, len(net.layer[1].param)) == (
        6,
        0,
    )
    assert spec.pool1.shape == (2, 6, 5, 4)
    assert netspec.summarize(net).as_dict()["blobs"]["pool1"] == [2, 6, 5, 4]


def test_a_layer_is_put_between():
    spec = netspec.load(TOWER)
    spec["conv1/bn"] = L.BatchNorm(spec.conv1, in_place=True)
    spec.replace("conv1", "conv1/bn")
    net = spec.to_proto()
    assert names(net)[1:4] == ["conv1", "conv1/bn", "relu1"]
    assert [list(layer.top) for layer in net.layer[1:4]] == [["conv1"]] * 3
    spec.replace(spec.pool1, L.LRN(spec.pool1, local_size=5, name="norm"))
    assert names(spec.to_proto())[5:7] == ["norm", "fc8"]


def test_a_replaced_layer_can_be_deleted():
    spec = netspec.load(TOWER)
    spec["fc8_new"] = L.InnerProduct(spec.pool1, num_output=2)
    spec.replace("fc8", "fc8_new")
    del spec["fc8"]
    net = spec.to_proto()
    assert names(net) == ["input", "conv1", "relu1", "pool1", "fc8_new", "prob"]
    assert list(net.layer[5].bottom) == ["fc8_new"]


def test_data_of_both_phases_are_replaced_together():
    spec = netspec.load(TRAIN_TEST)
    spec.data = L.Input(shape=[4, 1, 28, 28])
    spec.label = L.Input(shape=[4])
    net = spec.to_proto()
    assert names(net)[:4] == ["data", "noise", "ip", "ip"] or names(net)[:2] == [
        "data",
        "label",
    ]
    assert "mnist" not in names(net)
    assert list(net.layer[names(net).index("ip")].bottom) == ["data"]


def test_a_layer_for_one_phase_replaces_that_of_this_phase():
    spec = netspec.load(TRAIN_TEST)
    spec.data, spec.label = L.HDF5Data(
        source="other.txt", batch_size=9, ntop=2, include="TEST"
    )
    types = [(layer.type, layer.name) for layer in spec.to_proto().layer]
    assert types[:3] == [
        ("Data", "mnist"),
        ("DummyData", "noise"),
        ("HDF5Data", "data"),
    ]


def test_readers_of_a_deleted_layer_in_place_read_what_it_did():
    spec = netspec.load(TOWER)
    del spec["relu1"]
    assert names(spec.to_proto()) == ["input", "conv1", "pool1", "fc8", "prob"]
    assert spec.pool1.fn.inputs == (spec.conv1,)


def test_a_deleted_layer_that_is_read_is_an_error():
    spec = netspec.load(TOWER)
    del spec.fc8
    with pytest.raises(SpecError, match=r"'prob' \(Softmax\), <text>:27: reads 'fc8'"):
        spec.to_proto()
    del spec.prob
    assert names(spec.to_proto()) == ["input", "conv1", "relu1", "pool1"]


def test_half_of_a_deleted_layer_is_an_error():
    spec = netspec.load(TRAIN_TEST)
    spec.replace("label", L.Input(shape=[64]))
    del spec["label"]
    with pytest.raises(SpecError, match="'label' was deleted .* but not 'data'"):
        spec.to_proto()


def test_replacing_a_top_by_itself_or_by_no_top_is_an_error():
    spec = netspec.load(TOWER)
    with pytest.raises(SpecError, match="cannot replace itself"):
        spec.replace("fc8", spec.fc8)
    with pytest.raises(SpecError, match="is no top"):
        spec.replace("fc8", 3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="did you mean 'fc8'"):
        spec.replace("fc9", spec.pool1)


def test_a_written_spec_can_be_rewired_too():
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.a = L.ReLU(n.x)
    n.b = L.Sigmoid(n.a)
    n.replace(n.a, n.x)
    assert list(n.to_proto().layer[2].bottom) == ["x"]


def test_net_fields_are_arguments():
    n = NetSpec("net", force_backward=True, state=dict(level=3))
    n.x = L.Input(shape=[2, 3])
    net = n.to_proto()
    assert (net.name, net.force_backward, net.state.level) == ("net", True, 3)
    with pytest.raises(SpecError, match="'net'.*did you mean 'force_backward'"):
        NetSpec("net", force_backwards=True).to_proto()


@pytest.mark.parametrize("spelling", ["conv2", "conv1_"])
def test_a_blob_that_nothing_makes_is_an_error_with_the_place(spelling):
    text = TOWER.replace('bottom: "conv1"\n  top: "pool1"', f'bottom: "{spelling}"')
    with pytest.raises(SpecError, match=r"'pool1' \(Pooling\), <text>:13: .*'conv1'"):
        netspec.load(text)


def test_all_broken_wires_are_told(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        TOWER.replace('bottom: "fc8"', 'bottom: "x"').replace('"data"', '"q"', 1)
    )
    with pytest.raises(SpecError, match=r"(?s)'conv1' .*net.prototxt:4.*'prob' .*:27"):
        netspec.load(path)


def test_mistakes_in_text_have_line_and_column():
    with pytest.raises(TextError, match="<text>:12:.*did you mean 'bottom'"):
        netspec.load(TOWER.replace('bottom: "conv1" top', 'botom: "conv1" top'))
    with pytest.raises(FileError):
        netspec.load("no/such/file.prototxt")


def test_old_formats_are_upgraded_and_keep_their_lines():
    old = """
input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 8
layers { bottom: "data" top: "c" name: "c" type: CONVOLUTION blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { bottom: "c" top: "c" name: "r" type: RELU }
"""
    spec = netspec.load(old)
    assert spec.to_proto() == upgrade_net(parse(old, NetParameter))
    assert [str(spec[name].fn.site) for name in "cr"] == ["<text>:3", "<text>:5"]
    assert spec.c.fn.params["param"] == [dict(lr_mult=1), dict(lr_mult=2)]
    assert spec.c.shape == (2, 4, 7, 6)


def test_values_of_parameters_stay(tmp_path):
    net = parse(TOWER, NetParameter)
    net.layer[0].blobs.add(data=[0.1, 0.2, 1e-7])
    spec = netspec.load(net)
    assert spec.to_proto().layer[1].blobs[0] == net.layer[0].blobs[0]


def test_a_name_of_a_method_is_found_in_brackets():
    spec = netspec.load(TOWER.replace('"fc8"', '"update"'))
    assert spec["update"].fn.type_name == "InnerProduct"
    assert spec.to_proto().layer[4].name == "update"


# --- blocks


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


def test_a_block_can_share_its_parameters():
    tower = netspec.load(TOWER)
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 9, 8])
    n.y = L.Input(shape=[2, 3, 9, 8])
    n.a = tower(n.x, shared=True)
    n.b = tower(n.y, shared=True)
    net = n.to_proto()
    first, second = (
        [[p.name for p in layer.param] for layer in net.layer if name in layer.name]
        for name in ("a/", "b/")
    )
    assert (
        first
        == second
        == [["w", "tower/conv1/1"], [], [], ["tower/fc8/0", "tower/fc8/1"], []]
    )
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


def test_unnamed_instances_have_parameters_of_their_own():
    tower = netspec.load(TOWER)
    x = L.Input(shape=[2, 3, 9, 8])
    net = L.Concat(tower(x), tower(x)).to_proto()
    shared = [p.name for layer in net.layer for p in layer.param]
    assert len(shared) == len(set(shared)) == 2


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
    n = NetSpec()
    n.block = netspec.load(
        text.replace('bottom: "x"', 'bottom: "s"').replace(
            'layer { name: "loss"',
            'layer { name: "s" type: "Sigmoid" bottom: "x" top: "s" }\nlayer { name: "loss"',
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


# --- properties and real nets


@given(specs())
@settings(max_examples=80, deadline=None)
def test_every_spec_survives_a_file(spec):
    net = without_warnings(spec.to_proto)
    again = netspec.load(to_text(net))
    assert again.to_proto() == net
    for name, value in zip(again.keys(), again.vals(), strict=True):
        if name in spec and isinstance(value, netspec.Top):
            assert value.shape == spec[name].shape


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


READABLE = ("built", "parsed", "python-layer", "unknown-layer-types")


@needs_reference
@pytest.mark.parametrize("name", zoo_names(*READABLE))
def test_published_nets_are_written_back_as_they_were(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what an upgrade drops
        spec = netspec.load(zoo_path(name))
        net = upgrade_net(read_net(zoo_path(name)))
    assert spec.to_proto() == net


@needs_reference
def test_a_published_net_that_is_broken_tells_the_layer():
    (name,) = zoo_names("refused")
    with pytest.raises(
        SpecError, match=r"'conv' \(Convolution\), .*: reads blob 'data'"
    ):
        netspec.load(zoo_path(name))
