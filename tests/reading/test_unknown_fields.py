"""Unknown fields come through load, edits, blocks, upgrades, commands and to_python."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, SpecWarning, TextError
from netspec.nets.upgrade import upgrade_net
from netspec.schema import NetParameter, V1LayerParameter
from netspec.schema.unread import unread
from netspec.text import parse, read_message, to_text, write_message
from tests.text.field_trees import tree_of
from tests.text.test_keeping import SEVERAL

ROOT = Path(__file__).resolve().parents[2]
quiet = pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")

NET = """
made_by: "hand"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 3, 8, 7] } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p" colour: RED include { odd: 1 }
  pooling_param { kernel_size: 2 norm_region: WITHIN_CHANNEL } }
"""
UNKNOWN = b"\xaa\x7d\x03abc" + b"\x88\x7d\x96\x01" + b"\x85\x7d\1\2\3\4"
UNKNOWN += b"\x81\x7d\1\2\3\4\5\6\7\xff" + b"\x8b\x7d\x08\x01\x8c\x7d"


@quiet
def test_an_edited_net_keeps_them():
    n = netspec.load(NET)
    n.p.fn.params["kernel_size"] = 3
    n.q = L.ReLU(n.p)
    tree = tree_of(to_text(n.to_proto()))
    assert tree["made_by"] == [("text", "hand")]
    assert tree["layer"][1]["colour"] == ["RED"]
    pooling = {"kernel_size": [3.0], "norm_region": ["WITHIN_CHANNEL"]}
    assert tree["layer"][1]["pooling_param"] == [pooling]


@quiet
def test_a_block_has_them_in_each_copy():
    block = netspec.load(NET)
    n = NetSpec()
    n.a = L.Input(shape=[1, 3, 9, 9])
    n.one = block(n.a)
    n.two = block(n.a)
    assert str(n.to_proto()).count("norm_region: WITHIN_CHANNEL") == 2


@quiet
@settings(max_examples=30, deadline=None)
@given(SEVERAL, SEVERAL, SEVERAL)
def test_any_fields_come_through_load_and_to_python(net, layer, message):
    text = f"""{net} {NET}
    layer {{ {layer} name: "a" type: "InnerProduct" bottom: "p" top: "a"
      inner_product_param {{ {message} num_output: 3 }} }}"""
    wanted = parse(text, NetParameter)
    loaded = netspec.load(text)
    assert tree_of(to_text(loaded.to_proto())) == tree_of(text)
    scope: dict[str, object] = {}
    exec(loaded.to_python(), scope)
    made = scope["net"]
    assert callable(made)
    assert made().to_proto() == wanted


@quiet
def test_source_says_them_as_keywords():
    source = netspec.load(NET).to_python()
    assert (
        'pooling_param=dict(unknown_fields=["norm_region: WITHIN_CHANNEL"])' in source
    )
    assert 'unknown_fields=["colour: RED"]' in source
    assert 'NetSpec(unknown_fields=["made_by: \\"hand\\""])' in source or (
        """NetSpec(unknown_fields=['made_by: "hand"'])""" in source
    )


def test_python_takes_them_and_says_what_is_none():
    n = NetSpec()
    n.x = L.Input(shape=[1, 2, 4, 4], unknown_fields="odd <a: 1, > # and so on")
    assert list(n.to_proto().layer[0].unknown_fields) == ["odd { a: 1 }"]
    with pytest.raises(SpecError, match="Input layer, .*py:.*'a: 1 b: 2' is 2 fields"):
        n.y = L.Input(shape=[1], unknown_fields=["a: 1 b: 2"])
    with pytest.raises(SpecError, match="kernal_size is no field .*'kernel_size'"):
        n.y = L.Pooling(n.x, kernal_size=3)
    with pytest.raises(SpecError) as caught:
        n.y = L.Pooling(n.x, zzzzz=3)
    assert str(caught.value).endswith("propagate_down, include, exclude")


@quiet
def test_old_layers_are_upgraded_with_them():
    text = """
    odd: 1
    layers { name: "a" type: INTERP strict_dim: false top: "a" soft_param { a: 1 }
      pooling_param { norm: A } include { odd: 2 } }
    layers { name: "b" type: RELU6 top: "b" }
    layers { name: "c" type: IMAGE_SEG_DATA top: "c" bn_param { frozen: true } }
    """
    net = upgrade_net(parse(text, NetParameter))
    assert [layer.type for layer in net.layer] == ["Interp", "ReLU6", "ImageSegData"]
    first = net.layer[0]
    assert list(first.unknown_fields) == ["strict_dim: false", "soft_param { a: 1 }"]
    assert list(first.pooling_param.unknown_fields) == ["norm: A"]
    assert list(first.include[0].unknown_fields) == ["odd: 2"]
    assert list(net.unknown_fields) == ["odd: 1"]
    # A field that V1 layers of ours lack and current ones have is that field.
    assert net.layer[2].bn_param.frozen is True
    assert not net.layer[2].unknown_fields


@quiet
def test_the_oldest_layers_are_upgraded_with_them():
    text = """
    layers { odd: 1 top: "a" layer { name: "a" type: "data" batchsize: 2 blob_x: 3 } }
    """
    layer = upgrade_net(parse(text, NetParameter)).layer[0]
    assert list(layer.unknown_fields) == ["odd: 1", "blob_x: 3"]
    assert layer.data_param.batch_size == 2


def with_unknown(net: NetParameter) -> NetParameter:
    """The net with fields on the wire that no schema has, at every depth."""
    for message in (
        net,
        net.layer[1],
        net.layer[1].pooling_param,
        net.layer[1].param[0],
    ):
        message.MergeFromString(UNKNOWN)
    return net


POOL = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 3, 8, 7] } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p" param { lr_mult: 2 }
  pooling_param { kernel_size: 2 } }
"""


@quiet
def test_bytes_of_unknown_names_come_through_files_and_edits(tmp_path):
    net = with_unknown(parse(POOL, NetParameter))
    data = net.SerializeToString()
    write_message(tmp_path / "a.caffemodel", net)
    assert (tmp_path / "a.caffemodel").read_bytes() == data
    read = read_message(tmp_path / "a.caffemodel", NetParameter)
    assert read.SerializeToString() == data
    n = netspec.load(tmp_path / "a.caffemodel")
    assert n.to_proto().SerializeToString() == data
    n.p.fn.params["kernel_size"] = 3
    net.layer[1].pooling_param.kernel_size = 3
    assert sorted(unread(n.to_proto())) == sorted(unread(net))
    assert len(unread(net)) == 4 * 5
    del n.p.fn.params["param"]
    assert len(unread(n.to_proto())) == 3 * 5
    block = n(L.Input(shape=[1, 3, 8, 7]))
    assert len(unread(block.to_proto())) == 2 * 5


@quiet
def test_flatten_keeps_their_bytes(tmp_path):
    net = with_unknown(parse(POOL, NetParameter))
    write_message(tmp_path / "a.caffemodel", net)
    out = tmp_path / "b.caffemodel"
    from netspec.flatten import main

    assert main([str(tmp_path / "a.caffemodel"), "-o", str(out)]) == 0
    assert out.read_bytes() == net.SerializeToString()


def test_text_that_cannot_have_them_is_told(tmp_path):
    net = with_unknown(parse(POOL, NetParameter))
    said = r"out.prototxt: text has no names for .*: field 2005; .*and 15 more; it is"
    with pytest.warns(SpecWarning, match=said):
        write_message(tmp_path / "out.prototxt", net)
    assert read_message(tmp_path / "out.prototxt", NetParameter) == parse(
        POOL, NetParameter
    )


def test_an_upgrade_moves_their_bytes_where_it_can():
    net = NetParameter()
    old = net.layers.add(name="a", type=V1LayerParameter.RELU)
    old.relu_param.MergeFromString(UNKNOWN)
    old.MergeFromString(UNKNOWN + b"\xd2\x06\x02ab")  # 106, a convolution_param in V2
    problems: list[str] = []
    new = upgrade_net(net, problems=problems)
    assert [each.path for each in unread(new)] == [
        *[(("layer", 0),)] * 5,
        *[(("layer", 0), ("relu_param", -1))] * 5,
    ]
    assert len(problems) == 1
    assert "layer 'a' (ReLU)" in problems[0]
    assert "numbers 106 are other fields" in problems[0]


def test_strict_loading_names_all():
    with pytest.raises(TextError) as caught:
        netspec.load(NET, strict=True)
    said = str(caught.value).split("\n  and: ")
    assert len(said) == 4
    assert "<text>:4:56: LayerParameter.colour is no field" in said[1]
    with pytest.raises(SpecError, match=r"<net>: has .*'x': field 2001"):
        net = NetParameter()
        net.layer.add(name="x").MergeFromString(b"\x88\x7d\x96\x01")
        netspec.load(net, strict=True)
    with pytest.raises(SpecError, match="layer 'x': LayerParameter.odd is no field of"):
        netspec.load(
            NetParameter(layer=[{"name": "x", "unknown_fields": ["odd: 1"]}]),
            strict=True,
        )


@pytest.mark.parametrize(
    "command", ["export", "flatten", "draw", "summary", "to_python"]
)
def test_commands_are_strict_when_they_are_asked(command, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    words = [sys.executable, "-m", f"netspec.{command}"]
    done = subprocess.run(
        [*words, str(tmp_path / "net.prototxt"), "--strict"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    for name in ("2:1: NetParameter.made_by", "LayerParameter.colour"):
        assert name in done.stderr
    assert "and: " in done.stderr
