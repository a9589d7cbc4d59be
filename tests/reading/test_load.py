"""Files read into specs: unchanged, edited, and as blocks."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.catalogue import LAYER_TYPES
from netspec.errors import FileError, SpecError, TextError
from netspec.nets.upgrade import upgrade_net
from netspec.schema import NetParameter
from netspec.text import parse, read_net, to_text, write_message
from tests.example_nets import ODD, TOWER, TRAIN_TEST, names
from tests.random_specs import specs, without_warnings
from tests.reference import needs_reference, zoo_names, zoo_path

ROOT = Path(__file__).resolve().parents[2]


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
    assert netspec.load(TRAIN_TEST).data.shape == (100, None, None, None)


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
    with pytest.raises(SpecError, match=r"NetSpec: .*did you mean 'force_back"):
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


def test_a_file_is_read_once_and_its_layers_have_their_lines(tmp_path, monkeypatch):
    reads = []
    original = Path.read_bytes

    def read_bytes(path):
        reads.append(path)
        return original(path)

    text, binary = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    text.write_text("\n" + TOWER)
    write_message(binary, parse(TOWER, NetParameter))
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    shown = [str(netspec.load(path).relu1.fn.site) for path in (text, str(binary))]
    assert shown == [f"{text}:13", str(binary)]
    assert reads == [text, binary]
    assert str(netspec.load(parse(TOWER, NetParameter)).relu1.fn.site) == "<net>"


def test_layers_of_modules_have_no_line_of_their_own():
    text = """
module { name: "block" input: "x" output: "y"
  layer { name: "a" type: "ReLU" bottom: "x" top: "a" }
  layer { name: "y" type: "TanH" bottom: "a" top: "y" } }
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }
layer { name: "one" module: "block" bottom: "data" top: "one" }
"""
    spec = netspec.load(text)
    assert {str(fn.site) for fn in (top.fn for top in spec.entries())} == {"<text>"}


def test_values_of_parameters_stay(tmp_path):
    net = parse(TOWER, NetParameter)
    net.layer[0].blobs.add(data=[0.1, 0.2, 1e-7])
    spec = netspec.load(net)
    assert spec.to_proto().layer[1].blobs[0] == net.layer[0].blobs[0]


def test_a_name_of_a_method_is_found_in_brackets():
    spec = netspec.load(TOWER.replace('"fc8"', '"update"'))
    assert spec["update"].fn.type_name == "InnerProduct"
    assert spec.to_proto().layer[4].name == "update"


def test_fields_that_are_not_known_in_a_binary_file_give_a_warning(tmp_path):
    net = parse(TOWER, NetParameter)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString() + bytes([0x82, 0x7D, 3]) + b"abc")
    with pytest.warns(netspec.SpecWarning, match=r"net\.caffemodel: .* field 2000"):
        spec = netspec.load(path)
    assert spec.to_proto().SerializeToString().endswith(b"\x82\x7d\x03abc")
    with pytest.warns(netspec.SpecWarning, match="<net>: has fields .*: field 2000;"):
        netspec.load(spec.to_proto())
    with pytest.warns(netspec.SpecWarning, match="text has no names .* field 2000; it"):
        write_message(tmp_path / "net.prototxt", spec.to_proto())
    with (
        pytest.warns(netspec.SpecWarning),
        pytest.raises(SpecError, match=r"net\.caffemodel: has .*: field 2000"),
    ):
        netspec.load(path, strict=True)


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


def test_a_file_of_numbers_is_opened_once(tmp_path, monkeypatch):
    path = tmp_path / "net.caffemodel"
    write_message(path, parse(TOWER, NetParameter))
    opened, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: opened.append(self) or read_bytes(self)
    )
    netspec.load(path)
    assert opened.count(path) == 1


def test_new_names_do_not_walk_the_whole_net(monkeypatch):
    net = netspec.load(TOWER)
    monkeypatch.setattr("netspec.reading.loaded.functions", None)
    net.extra = L.ReLU(next(iter(net.tops.values())))


@pytest.mark.parametrize("kind", sorted(LAYER_TYPES))
@pytest.mark.parametrize("bottoms", ["", 'bottom: "x" bottom: "x" bottom: "x"'])
@pytest.mark.filterwarnings("ignore::netspec.SpecWarning")  # of what forks do otherwise
def test_a_layer_with_any_number_of_bottoms_is_read_and_written_back(kind, bottoms):
    text = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [2, 3, 4,'
        f' 5] }} }} }} layer {{ name: "one" type: "{kind}" {bottoms} top: "y" }}'
    )
    spec = netspec.load(text)
    assert spec.to_proto() == parse(text, NetParameter)
    assert kind in spec.to_python()
    if not bottoms and LAYER_TYPES[kind].bottoms[0] > 0:
        with pytest.raises(SpecError, match=r"'one' \(\w+\): takes .*; got 0"):
            netspec.summarize(text)
        with pytest.raises(SpecError, match=r"'one' \(\w+\): takes .*; got 0"):
            runtime.Net(text)


def test_a_model_file_is_run_by_load_and_by_nobody_else(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def small():\n"
        "    n = NetSpec('small')\n"
        "    n.x = L.Input(shape=[2, 3])\n"
        "    n.y = L.ReLU(n.x)\n"
        "    return n\n"
    )
    n = netspec.load(path)
    assert isinstance(n, netspec.NetSpec)
    n.z = netspec.layers.TanH(n.y)
    assert [layer.name for layer in n.to_proto().layer] == ["x", "y", "z"]
    for read in (netspec.summarize, netspec.deploy):
        with pytest.raises(SpecError, match="small.py: is a Python file, which"):
            read(path)
