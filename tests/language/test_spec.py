"""NetSpec: what its scripts do today goes on, and sub-nets give names."""

import copy
import pickle
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L
from netspec import params as P
from netspec.text import parse, to_text
from tests.patience import PATIENCE_S


def names(net):
    return [layer.name for layer in net.layer]


def lenet(batch_size=64):
    n = NetSpec()
    n.data, n.label = L.Data(
        batch_size=batch_size,
        backend=P.Data.LMDB,
        source="db",
        transform_param=dict(scale=1.0 / 255),
        ntop=2,
    )
    n.conv1 = L.Convolution(
        n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier")
    )
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


def test_the_notebook_example_of_netspec():
    net = lenet().to_proto()
    assert names(net) == [
        "data",
        "conv1",
        "pool1",
        "ip1",
        "relu1",
        "score",
        "loss",
    ]
    assert list(net.layer[0].top) == ["data", "label"]
    assert list(net.layer[4].bottom) == list(net.layer[4].top) == ["ip1"]
    assert list(net.layer[5].bottom) == ["ip1"]
    assert net.layer[2].pooling_param.pool == P.Pooling.MAX
    assert parse(str(net), "NetParameter") == net


def test_names_come_from_items_too_and_may_have_slashes():
    n = NetSpec()
    n["a/b"] = L.Input(shape=dict(dim=[2, 3]))
    n["a/c"] = L.ReLU(n["a/b"])
    assert names(n.to_proto()) == ["a/b", "a/c"]
    assert list(n.keys()) == ["a/b", "a/c"]
    assert list(n.tops) == ["a/b", "a/c"]


def test_tops_without_names_are_numbered_by_type():
    x = L.Input(shape=[2, 3])
    net = netspec.to_proto(L.Eltwise(L.ReLU(x), L.ReLU(L.Sigmoid(x))))
    assert names(net) == ["Input1", "ReLU1", "Sigmoid1", "ReLU2", "Eltwise1"]
    assert list(net.layer[4].bottom) == ["ReLU1", "ReLU2"]


def test_layers_come_in_the_order_of_assignment_with_what_they_need_first():
    n = NetSpec()
    x = L.Input(shape=[2, 3])
    n.late = L.Sigmoid(L.ReLU(x))
    n.x = x
    assert names(n.to_proto()) == ["x", "ReLU1", "late"]


def test_rules_and_parameters_as_dictionaries_and_lists():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3], include=dict(phase=TEST))
    n.ip = L.InnerProduct(
        n.data,
        num_output=2,
        param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)],
        include=[dict(phase=TRAIN, stage=["a"]), dict(min_level=2)],
        loss_weight=0.5,
        propagate_down=[False],
    )
    data, ip = n.to_proto().layer
    assert data.include[0].phase == TEST
    assert [rule.HasField("phase") for rule in ip.include] == [True, False]
    assert [spec.lr_mult for spec in ip.param] == [1, 2]
    assert (list(ip.loss_weight), list(ip.propagate_down)) == ([0.5], [False])


def test_message_of_options_may_be_given_whole():
    x = L.Input(shape=[2, 3, 9, 9])
    whole = L.Convolution(x, convolution_param=dict(num_output=4, kernel_size=[3]))
    flat = L.Convolution(x, num_output=4, kernel_size=3)
    assert whole.to_proto() == flat.to_proto()


def test_layer_without_tops_and_the_params_of_a_call():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.quiet = L.Silence(n.data, ntop=0)
    net = n.to_proto()
    assert names(net) == ["data", "quiet"]
    assert not net.layer[1].top
    top = L.ReLU(n.data, negative_slope=0.1)
    assert top.fn.params == {"negative_slope": 0.1}
    assert top.fn.type_name == "ReLU"


def test_given_name_is_that_of_the_layer_and_the_assigned_one_that_of_the_blob():
    n = NetSpec()
    n.x = L.Input(shape=[2, 3], name="input")
    assert (n.to_proto().layer[0].name, *n.to_proto().layer[0].top) == ("input", "x")


def test_getattr_and_layer_of_any_type():
    x = L.Input(shape=[2, 3])
    assert getattr(L, "ReLU")(x).fn.type_name == "ReLU"  # noqa: B009
    mine = netspec.layer("MyOwn", x, python_param=dict(module="m", layer="l"))
    layer = mine.to_proto().layer[1]
    assert (layer.type, layer.python_param.module) == ("MyOwn", "m")


def test_shapes_are_known_while_writing():
    x = L.Input(shape=[2, 3, 9, 8])
    top = L.Pooling(
        L.Convolution(x, num_output=5, kernel_size=3), kernel_size=2, stride=2
    )
    assert top.shape == (2, 5, 4, 3)
    assert L.HDF5Data(source="list", batch_size=2).shape is None


def test_spec_in_a_spec_prefixes_its_names():
    def block(x, width):
        n = NetSpec()
        n.conv = L.Convolution(x, num_output=width, kernel_size=1)
        n.output = L.ReLU(n.conv, in_place=True)
        return n

    n = NetSpec("net")
    n.data = L.Input(shape=[2, 3, 4, 5])
    n.first = block(n.data, 6)
    n.second = block(n.first, 7)
    net = n.to_proto()
    assert net.name == "net"
    assert names(net) == [
        "data",
        "first/conv",
        "first/output",
        "second/conv",
        "second/output",
    ]
    assert list(net.layer[3].bottom) == ["first/conv"]


def test_copies_and_pickles_are_equal():
    n = lenet()
    net = n.to_proto()
    assert copy.copy(n).to_proto() == net
    assert copy.deepcopy(n).to_proto() == net
    assert pickle.loads(pickle.dumps(n)).to_proto() == net


def test_import_is_light():
    code = (
        "import sys, netspec; "
        "assert not {'numpy', 'runtime', 'cupy'} & set(sys.modules); "
        "netspec.L.ReLU"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


@st.composite
def specs(draw):
    """Random chains with branches over small images."""
    n = NetSpec(draw(st.sampled_from(["", "net"])))
    n.data = L.Input(shape=[2, 3, 8, 8])
    tops = [n.data]
    for index in range(draw(st.integers(1, 8))):
        x = draw(st.sampled_from(tops))
        kind = draw(st.sampled_from(["conv", "relu", "power", "sum"]))
        if kind == "conv":
            width = draw(st.integers(1, 5))
            top = L.Convolution(
                x,
                num_output=width,
                kernel_size=1,
                param=[dict(lr_mult=draw(st.floats(0, 2, width=32)))],
                weight_filler=draw(st.sampled_from(["xavier", "msra"])),
            )
        elif kind == "relu":
            top = L.ReLU(x, negative_slope=draw(st.floats(0, 1, width=32)))
        elif kind == "power":
            top = L.Power(x, shift=draw(st.floats(-3, 3, width=32)))
        else:
            top = L.Eltwise(x, x, operation=draw(st.sampled_from(["SUM", "PROD"])))
        n[f"block/layer{index}"] = top
        tops.append(top)
    return n


@given(specs())
@settings(max_examples=60, deadline=None)
def test_every_spec_survives_text_and_binary(spec):
    net = spec.to_proto()
    assert parse(to_text(net), "NetParameter") == net
    assert type(net).FromString(net.SerializeToString()) == net
    for name, top in spec.tops.items():
        assert list(top.shape) == netspec.summarize(net).as_dict()["blobs"][name]


@pytest.mark.parametrize("count", [10, 300])
def test_layers_are_written_once_however_often_they_are_read(count):
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    for index in range(count):
        n[f"r{index}"] = L.Eltwise(n.x, n[f"r{index - 1}"] if index else n.x)
    assert len(n.to_proto().layer) == count + 1


def test_places_in_files_are_looked_up_for_messages_only(monkeypatch):
    asked = []
    monkeypatch.setattr("netspec.site.Site.__str__", lambda site: asked.append(site))
    x = L.Input(shape=[1, 2])
    for _ in range(3):
        x = L.ReLU(x)
    assert asked == []


def test_a_third_layer_of_a_name_takes_the_place_of_that_of_its_phase():
    n = NetSpec()
    for phase, size in ((TRAIN, 1), (TEST, 2), (TRAIN, 3)):
        n.data = L.Input(shape=[size], include=phase)
    shapes = [list(layer.input_param.shape[0].dim) for layer in n.to_proto().layer]
    assert sorted(shapes) == [[2], [3]]


def test_update_takes_the_layers_of_both_phases():
    n, other = NetSpec(), NetSpec()
    other.data = L.Input(shape=[1], include=TRAIN)
    other.data = L.Input(shape=[2], include=TEST)
    n.update(other)
    assert n.to_proto().layer == other.to_proto().layer
