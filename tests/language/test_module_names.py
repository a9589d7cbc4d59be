"""Modules whose layers have published names, by a rule instead of a path."""

import pytest

import netspec
from netspec import NetSpec, defaults, module, shared
from netspec import layers as L
from netspec.commands.model_files import load_model
from netspec.draw import draw
from netspec.draw.__main__ import main as draw_command
from netspec.draw.scene import Scene, View
from netspec.errors import SpecError
from netspec.nets.module_paths import known_paths
from netspec.summary.__main__ import main as summary_command
from tests.test_architecture import ROOT


def published(block, part):
    path, _, kind = part.rpartition("/")
    name = f"{block}_{path}" if path else block
    return f"bn{name}" if kind == "bn" else name


@module(names=published)
def block(x, width=4):
    m = NetSpec()
    m["a/conv"] = y = L.Convolution(x, num_output=width, kernel_size=3, pad=1)
    m["a/bn"] = y = L.BatchNorm(y, in_place=True)
    m["b/conv"] = y = L.Convolution(y, num_output=width, kernel_size=1)
    m.sum = L.Eltwise(x, y)
    return m.sum


def net(count=2):
    n = NetSpec()
    n.data = x = L.Input(shape=[2, 4, 9, 8])
    for number in range(count):
        n[f"res{number}"] = x = block(x)
    n.score = L.InnerProduct(x, num_output=3)
    return n


def names(message):
    return [layer.name for layer in message.layer]


def test_layers_and_blobs_have_the_names_of_the_rule():
    message = net(2).to_proto()
    assert names(message) == [
        "data",
        *("res0_a", "bnres0_a", "res0_b", "res0"),
        *("res1_a", "bnres1_a", "res1_b", "res1"),
        "score",
    ]
    second = message.layer[5:9]
    assert [list(layer.bottom) for layer in second] == [
        *(["res0"], ["res1_a"], ["res1_a"], ["res0", "res1_b"])
    ]
    assert [layer.top[0] for layer in second] == ["res1_a", "res1_a", "res1_b", "res1"]


def test_a_spec_knows_the_paths():
    paths = known_paths(net(1))
    assert paths == {
        "res0_a": "res0/a",
        "bnres0_a": "res0/a",
        "res0_b": "res0/b",
        "res0": "res0",
    }
    assert known_paths(NetSpec()) == {}


def test_drawings_and_summaries_show_the_modules():
    scene = Scene(net(1), View())
    assert [each.path for each in scene.root.modules()] == ["res0"]
    assert ">×4<" in draw(net(4))
    rows = {row.name: row.path for row in netspec.summarize(net(1)).rows}
    assert rows["bnres0_a"] == "res0/a"
    lines = netspec.summarize(net(1)).text(depth=0).splitlines()
    assert any(line.startswith("res0 ") and "4 layers" in line for line in lines)


def test_modules_in_folders_and_modules_keep_what_stands_before():
    def stage(x):
        m = NetSpec()
        m.one = x = block(x)
        m.two = block(x)
        return m.two

    n = NetSpec()
    n.data = L.Input(shape=[2, 4, 9, 8])
    n.stage = module(stage)(n.data)
    inner = names(n.to_proto())[1:]
    assert inner[:4] == ["stage/one_a", "stage/bnone_a", "stage/one_b", "stage/one"]
    assert known_paths(n)["stage/bntwo_a"] == "stage/two/a"

    flat = NetSpec()
    flat.data = L.Input(shape=[2, 4, 9, 8])
    flat.stage = module(names=lambda own, part: part)(stage)(flat.data)
    assert names(flat.to_proto())[1:3] == ["one_a", "bnone_a"]
    assert known_paths(flat)["bntwo_a"] == "stage/two/a"


def test_calls_with_a_name_and_without_have_it_in_the_rule():
    n = NetSpec()
    n.data = L.Input(shape=[2, 4, 9, 8])
    n.score = L.Eltwise(block(n.data, name="left"), block(n.data))
    assert {"left_a", "bnleft_a", "left", "block1_a", "block1"} < set(
        names(n.to_proto())
    )


def test_shared_modules_and_defaults_go_through_a_rule():
    twin = shared(block)
    n = NetSpec()
    n.a, n.b = L.Input(shape=[[2, 4, 9, 8]] * 2, ntop=2)
    with defaults(L.Convolution, bias_term=False):
        n.left, n.right = twin(n.a), twin(n.b)
    n.sum = L.Eltwise(n.left, n.right)
    layers = {layer.name: layer for layer in n.to_proto().layer}
    assert layers["left_a"].param[0].name == layers["right_a"].param[0].name != ""


@pytest.mark.parametrize("wrong", [None, "", 3])
def test_a_rule_that_returns_no_name_is_an_error(wrong):
    @module(names=lambda own, part: wrong)
    def bad(x):
        return L.TanH(x, name="act")

    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.out = bad(n.data)
    told = rf"module bad: names\('out', 'act'\) returns {wrong!r}; expected the name"
    with pytest.raises(SpecError, match=told):
        n.to_proto()


def test_a_rule_with_one_name_for_two_is_an_error():
    @module(names=lambda own, part: own)
    def bad(x):
        return L.TanH(L.TanH(x, name="a"), name="b")

    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.out = bad(n.data)
    with pytest.raises(SpecError, match=r"another TanH layer of this name is at"):
        n.to_proto()


def test_what_is_no_rule_is_refused_where_it_stands():
    with pytest.raises(SpecError, match=r"names of module is 'res'; expected a func"):
        module(names="res")(block)
    with pytest.raises(SpecError, match=r"module takes a function, .*; got 'block'"):
        module("block")


MODEL = """
from netspec import NetSpec, layers as L, module

@module(names=lambda block, part: f"x{part}of{block}")
def pair(x):
    return L.TanH(L.TanH(x, name="a"), name="b")

def net():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.one = pair(n.data)
    return n
"""


def test_commands_show_the_modules_of_a_model_file(tmp_path, capsys):
    path, drawing = tmp_path / "own.py", tmp_path / "own.svg"
    path.write_text(MODEL)
    assert draw_command([str(path), "-o", str(drawing)]) == 0
    assert ">2 layers<" in drawing.read_text()
    assert summary_command([str(path), "--depth", "0"]) == 0
    out = capsys.readouterr().out
    assert "2 layers" in out
    assert "xaofone" not in out
    paths = {}
    load_model(path, paths=paths)
    assert paths == {"xaofone": "one", "xbofone": "one"}


MODULES = {
    "resnet50": ("res4b_branch2a", "bn4b_branch2a", "res4b/branch2a"),
    "resnet18": ("res2a_branch2b", "res2a", "res2a"),
    "mobilenet": ("conv2_1/dw", "relu2_1/dw", "conv2_1/dw"),
    "mobilenet_v2": ("conv3_1/linear", "block_3_1", "conv3_1"),
    "densenet": ("conv2_1/x1", "concat_2_1", "block2/conv2_1"),
    "senet": ("conv3_2_prob", "conv3_2", "conv3_2"),
    "shufflenet": ("resx2_conv1", "shuffle2", "resx2"),
}


@pytest.mark.parametrize("model", MODULES)
def test_models_of_published_names_have_modules(model):
    paths = {}
    message = load_model(ROOT / "models" / f"{model}.py", deploy=True, paths=paths)
    one, other, path = MODULES[model]
    assert {one, other} < set(names(message))
    assert paths[other] == path
    assert paths[one].startswith(path)
